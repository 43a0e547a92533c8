# Meta-KD's data with EasyNLP's flags: split, embeddings, instance weights, development rows.
raykd easynlp generate_senti_data

raykd easynlp extract_embeddings \
    --bert_path ${TEACHER_MODEL} \
    --input data/SENTI/train.tsv \
    --output data/SENTI/train.embeddings.tsv \
    --task_name senti --gpu 7

raykd easynlp generate_meta_weights \
    data/SENTI/train.embeddings.tsv \
    data/SENTI/train_with_weights.tsv \
    books,dvd,electronics,kitchen

raykd easynlp generate_dev_file \
    --input data/SENTI/dev.tsv \
    --output data/SENTI/dev_standard.tsv
