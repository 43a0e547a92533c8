# A student of one domain with EasyNLP's flags: both stages, then its score.
genre=books
DISTRIBUTED_ARGS="--nproc_per_node 2 --nnodes 1 --node_rank 0 --master_addr localhost --master_port 6009"
raykd easynlp $DISTRIBUTED_ARGS meta_student_distill.py \
    --mode train \
    --tables=data/SENTI/train_with_weights.tsv,data/SENTI/dev_standard.tsv \
    --input_schema=guid:str:1,text_a:str:1,text_b:str:1,label:str:1,domain:str:1,weight:str:1 \
    --first_sequence=text_a \
    --second_sequence=text_b \
    --label_name=label \
    --label_enumerate_values=positive,negative \
    --checkpoint_dir=./tmp/$genre/meta_student_pretrain/ \
    --learning_rate=3e-5  \
    --epoch_num=10  \
    --random_seed=42 \
    --logging_steps=20 \
    --sequence_length=128 \
    --micro_batch_size=16 \
    --app_name=text_classify \
    --user_defined_parameters="
                                pretrain_model_name_or_path=${STUDENT_MODEL}
                                teacher_model_path=./tmp/meta_teacher/
                                domain_loss_weight=0.5
                                distill_stage=first
                                genre=$genre
                                T=2
                              "

pretrained_path="./tmp/$genre/meta_student_pretrain/"
raykd easynlp $DISTRIBUTED_ARGS meta_student_distill.py \
    --mode train \
    --tables=data/SENTI/train_with_weights.tsv,data/SENTI/dev_standard.tsv \
    --input_schema=guid:str:1,text_a:str:1,text_b:str:1,label:str:1,domain:str:1,weight:str:1 \
    --first_sequence=text_a \
    --second_sequence=text_b \
    --label_name=label \
    --label_enumerate_values=positive,negative \
    --checkpoint_dir=./tmp/$genre/meta_student_fintune/ \
    --learning_rate=3e-5  \
    --epoch_num=10  \
    --random_seed=42 \
    --logging_steps=20 \
    --save_checkpoint_steps=50 \
    --sequence_length=128 \
    --micro_batch_size=16 \
    --app_name=text_classify \
    --user_defined_parameters="
                                pretrain_model_name_or_path=$pretrained_path
                                teacher_model_path=./tmp/meta_teacher/
                                domain_loss_weight=0.5
                                distill_stage=second
                                genre=$genre
                                T=2
                              "

Student_model_path=./tmp/$genre/meta_student_fintune/
raykd easynlp main_evaluate.py \
    --mode evaluate \
    --tables=data/SENTI/train_with_weights.tsv,data/SENTI/dev_standard.tsv \
    --input_schema=guid:str:1,text_a:str:1,text_b:str:1,label:str:1,domain:str:1,weight:str:1 \
    --first_sequence=text_a \
    --label_name=label \
    --label_enumerate_values=positive,negative \
    --checkpoint_dir=./tmp/meta_teacher/ \
    --learning_rate=3e-5  \
    --epoch_num=1  \
    --random_seed=42 \
    --logging_steps=20 \
    --sequence_length=128 \
    --micro_batch_size=16 \
    --app_name=text_classify \
    --user_defined_parameters="pretrain_model_name_or_path=$Student_model_path
                                genre=$genre"
