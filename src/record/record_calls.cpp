// The functions of libcistern-record.so by which a program starts and stops its own recording
// (cistern/record.h).
#include <cistern/record.h>

#include "recorded_process.hpp"

#define CISTERN_EXPORT_C extern "C" __attribute__((visibility("default")))

CISTERN_EXPORT_C int cistern_record_start() {
  return cistern::detail::recorded_process::resume() ? 0 : -1;
}

CISTERN_EXPORT_C int cistern_record_stop() {
  return cistern::detail::recorded_process::pause() ? 0 : -1;
}
