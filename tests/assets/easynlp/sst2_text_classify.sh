# SST-2 with EasyNLP's flags: a teacher, its logits, a student distilled from them, its predictions and its score.
raykd easynlp \
    --app_name=text_classify \
    --mode=train \
    --worker_count=1 \
    --worker_gpu=1 \
    --tables=${TRAIN},${DEV} \
    --input_schema=sent:str:1,label:str:1 \
    --first_sequence=sent \
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
    --app_name=text_classify \
    --mode=predict \
    --worker_count=1 \
    --worker_gpu=1 \
    --tables=${TRAIN} \
    --outputs=${LOGITS_PATH} \
    --input_schema=sent:str:1,label:str:1 \
    --output_schema=logits \
    --first_sequence=sent \
    --checkpoint_path=${TEACHER_CKPT} \
    --micro_batch_size=32 \
    --sequence_length=128

raykd easynlp \
    --app_name=text_classify \
    --mode=train \
    --worker_count=1 \
    --worker_gpu=1 \
    --tables=${TRAIN},${DEV} \
    --input_schema=sent:str:1,label:str:1,logits:float:2 \
    --first_sequence=sent \
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
    --app_name=text_classify \
    --mode=predict \
    --worker_count=1 \
    --worker_gpu=1 \
    --tables=${DEV} \
    --outputs=${PREDICTIONS} \
    --input_schema=sent:str:1,label:str:1 \
    --output_schema=predictions \
    --first_sequence=sent \
    --checkpoint_path=${STUDENT_CKPT} \
    --micro_batch_size=32 \
    --sequence_length=128

raykd easynlp \
    --app_name=text_classify \
    --mode=evaluate \
    --worker_count=1 \
    --worker_gpu=1 \
    --tables=${DEV} \
    --input_schema=sent:str:1,label:str:1 \
    --first_sequence=sent \
    --label_name=label \
    --label_enumerate_values=0,1 \
    --checkpoint_path=${STUDENT_CKPT} \
    --micro_batch_size=32 \
    --sequence_length=128
