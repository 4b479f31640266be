// Descriptors 0, 1 and 2, which a program may have been started without.
#pragma once

namespace kms::process {

/// Opens /dev/null where one of them is closed: the next socket or file would take its number, and what is
/// meant for stderr would go there. Where this is linked it has happened before all other initialisation:
/// gRPC opens an eventfd before main.
void open_standard_streams();

}  // namespace kms::process
