"""The systems that a search compares at its end, in the order of the table."""

TEACHER, TUNED_TEACHER = "teacher", "tuned_teacher"
NO_KD, NO_KD_TUNED = "no_kd", "no_kd_tuned"
DEFAULT, TUNED = "default", "tuned"

TITLES = {
    TEACHER: "teacher",
    TUNED_TEACHER: "teacher, tuned",
    NO_KD: "student without distillation",
    NO_KD_TUNED: "student without distillation, tuned training",
    DEFAULT: "student, the job's own values",
    TUNED: "student, tuned",
}
"""Names in the table."""
REFERENCES = {
    DEFAULT: "the job's own values",
    NO_KD: "no distillation",
    NO_KD_TUNED: "no distillation, tuned training",
}
"""Names in verdicts of the systems that the tuned student is compared with."""
