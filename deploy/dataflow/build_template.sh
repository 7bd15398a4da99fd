#!/usr/bin/env bash
# Builds the image and the Flex Template of a command, from the root of the checkout:
#
#   IMAGE=europe-docker.pkg.dev/PROJECT/images/build_mixtures:1 \
#     deploy/dataflow/build_template.sh build_mixtures gs://BUCKET/templates/build_mixtures.json
#
# Then, to run the command, as often as you like:
#
#   gcloud dataflow flex-template run NAME --region=REGION \
#     --template-file-gcs-location=gs://BUCKET/templates/build_mixtures.json \
#     --parameters=corpus=gs://BUCKET/LibriSpeech,output=gs://BUCKET/datasets/overlay/1.0.0 \
#     --parameters=sdk_container_image=IMAGE --worker-machine-type=n2-highcpu-4
set -euo pipefail

: "${IMAGE:?}"
command=$1
template=$2

docker build --file=deploy/dataflow/Dockerfile --build-arg="COMMAND=$command" --tag="$IMAGE" .
docker push "$IMAGE"
metadata=$(mktemp)
trap 'rm "$metadata"' EXIT
python -m deploy.dataflow.metadata "$command" > "$metadata"
gcloud dataflow flex-template build "$template" \
    --image="$IMAGE" --sdk-language=PYTHON --metadata-file="$metadata"
