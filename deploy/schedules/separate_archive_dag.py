"""Separates an archive with Airflow, every night at 02:15, one run at a time.

Exit status 3 (some files were rejected) marks the task as skipped, which is visible and stops
nothing. Exit status 1 fails it, and Airflow tries again: the ledger has what is finished.
"""

import datetime

from airflow import DAG
from airflow.operators.bash import BashOperator

with DAG(
    dag_id="separate_archive",
    schedule="15 2 * * *",
    start_date=datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc),
    catchup=False,
    max_active_runs=1,
):
    BashOperator(
        task_id="separate",
        bash_command=(
            "python -m beam_jobs.separate_archive "
            "--input='gs://CALLS/**.wav' --model=gs://MODELS/speech --output=gs://SEPARATED"
        ),
        skip_on_exit_code=3,
        retries=2,
        retry_delay=datetime.timedelta(minutes=10),
    )
