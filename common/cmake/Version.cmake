# The one place that names the version; read by the whole build and by `cmake -S provider` alone.
set(KMS_VERSION 0.1.0)
