// closed_streams: a program may be started with its standard streams closed.
#pragma once

namespace cistern::tool {

/// Opens what is closed of the standard streams so that reading and writing there go on to fail: else the
/// first file that is opened would get its number, and with it what is said on standard error. To be called
/// before any file is opened. Programs that are run have them closed as before. Throws `std::system_error`.
void open_closed_streams();

}  // namespace cistern::tool
