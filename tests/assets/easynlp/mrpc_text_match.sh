# The flow of EasyNLP's run_vanilla_kd.sh: text_match on MRPC, whose second column is named id.
WORKER_COUNT=1
WORKER_GPU=1

raykd easynlp \
     --app_name=text_match \
     --mode=train \
     --worker_count=${WORKER_COUNT} \
     --worker_gpu=${WORKER_GPU} \
     --tables=${TRAIN},${DEV} \
     --input_schema=label:str:1,id:str:1,id2:str:1,sent1:str:1,sent2:str:1 \
     --first_sequence=sent1 \
     --second_sequence=sent2 \
     --label_name=label \
     --label_enumerate_values=0,1 \
     --checkpoint_dir=${TEACHER_CKPT} \
     --learning_rate=3e-5 \
     --epoch_num=1 \
     --random_seed=42 \
     --save_checkpoint_steps=100 \
     --sequence_length=128 \
     --micro_batch_size=32 \
     --user_defined_parameters="pretrain_model_name_or_path=${TEACHER_MODEL}"

 raykd easynlp \
     --mode=predict \
     --worker_count=${WORKER_COUNT} \
     --worker_gpu=${WORKER_GPU} \
     --tables=${TRAIN} \
     --outputs=${LOGITS_PATH} \
     --input_schema=label:str:1,id:str:1,id2:str:1,sent1:str:1,sent2:str:1 \
     --output_schema=logits \
     --first_sequence=sent1 \
     --second_sequence=sent2 \
     --checkpoint_path=${TEACHER_CKPT} \
     --micro_batch_size=32 \
     --sequence_length=128 \
     --app_name=text_match

raykd easynlp \
    --app_name=text_match \
    --mode=train \
    --worker_count=${WORKER_COUNT} \
    --worker_gpu=${WORKER_GPU} \
    --tables=${TRAIN},${DEV} \
    --input_schema=label:str:1,id:str:1,id2:str:1,sent1:str:1,sent2:str:1,logits:float:2 \
    --first_sequence=sent1 \
    --second_sequence=sent2 \
    --label_name=label \
    --label_enumerate_values=0,1 \
    --checkpoint_dir=${STUDENT_CKPT} \
    --learning_rate=3e-5 \
    --epoch_num=1 \
    --random_seed=42 \
    --save_checkpoint_steps=200 \
    --sequence_length=128 \
    --micro_batch_size=32 \
    --user_defined_parameters="
        pretrain_model_name_or_path=${STUDENT_MODEL}
        enable_distillation=True
        type=vanilla_kd
        logits_name=logits
        logits_saved_path=${LOGITS_PATH}
        temperature=5
        alpha=0.2
    "

raykd easynlp \
    --mode=predict \
    --worker_count=${WORKER_COUNT} \
    --worker_gpu=${WORKER_GPU} \
    --tables=${TRAIN} \
    --outputs=${PREDICTIONS} \
    --input_schema=label:str:1,id:str:1,id2:str:1,sent1:str:1,sent2:str:1 \
    --output_schema=predictions,probabilities,logits \
    --first_sequence=sent1 \
    --second_sequence=sent2 \
    --checkpoint_path=${STUDENT_CKPT} \
    --micro_batch_size=32 \
    --sequence_length=128 \
    --app_name=text_match
