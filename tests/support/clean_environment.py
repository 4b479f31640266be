"""A plugin of pytest: no variable of the programs reaches a test, such as the MOCK_KMS_SOCKET that `scripts/run` tells its user to export."""

import os

for _name in [name for name in os.environ if name.startswith(("BUILDER_", "SUPERVISOR_", "MOCK_KMS_"))]:
    del os.environ[_name]
