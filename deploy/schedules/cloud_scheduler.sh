#!/usr/bin/env bash
# Google Cloud: a Cloud Run job with the project's image, and a Cloud Scheduler job that starts it
# every night at 02:15. An execution whose exit status is not 0 is marked as failed and not repeated:
# status 3 (some files were rejected) would come again, and the next night continues from the ledger
# in any case.
set -euo pipefail

: "${PROJECT:?}" "${REGION:?}" "${IMAGE:?}" "${SERVICE_ACCOUNT:?}"

gcloud run jobs deploy separate-archive \
  --project="$PROJECT" --region="$REGION" --image="$IMAGE" --service-account="$SERVICE_ACCOUNT" \
  --cpu=8 --memory=16Gi --task-timeout=6h --max-retries=0 \
  --command=python \
  --args='^;^-m;beam_jobs.separate_archive;--input=gs://CALLS/**.wav;--model=gs://MODELS/speech;--output=gs://SEPARATED'

gcloud scheduler jobs create http separate-archive \
  --project="$PROJECT" --location="$REGION" --schedule='15 2 * * *' --time-zone=Etc/UTC \
  --http-method=POST \
  --uri="https://run.googleapis.com/v2/projects/$PROJECT/locations/$REGION/jobs/separate-archive:run" \
  --oauth-service-account-email="$SERVICE_ACCOUNT"
