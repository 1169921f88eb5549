"""The columns of the competition's CSV files (its data page), as they are read and written."""

from lumbar.sites import SEVERITIES, SITE_NAMES

DESCRIPTION_COLUMNS = ("study_id", "series_id", "series_description")  # <split>_series_descriptions.csv
GRADE_COLUMNS = ("study_id", *SITE_NAMES)  # train.csv
COORDINATE_COLUMNS = ("study_id", "series_id", "instance_number", "condition", "level", "x", "y")
SUBMISSION_COLUMNS = ("row_id", *SEVERITIES)  # submission.csv and sample_submission.csv
