# The only place that names the version. The whole build and `cmake -S provider` read it.
set(KMS_VERSION 0.1.0)
