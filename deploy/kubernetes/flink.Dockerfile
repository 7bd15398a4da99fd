# Flink with Beam's runner on its own class path, for JobManager, TaskManagers and Beam's job server.
#
#   mvn -f deploy/flink/pom.xml package
#   docker build -f deploy/kubernetes/flink.Dockerfile -t FLINK_IMAGE .
FROM flink:1.19.0-java17

COPY deploy/flink/target/lib /tmp/lib
# The image already has Flink and its logger.
RUN rm /tmp/lib/flink-* /tmp/lib/slf4j-* && mv --no-clobber /tmp/lib/* lib/ && rm -r /tmp/lib
