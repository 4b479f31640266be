// Makes sure that descriptors 0, 1 and 2 are open.
#pragma once

namespace kms::process {

/// Opens /dev/null in place of each closed one. Otherwise the next socket or file would take its number and
/// receive the lines for stderr. Linking this runs it before all other initialisation: gRPC opens an eventfd
/// before main.
void open_standard_streams();

}  // namespace kms::process
