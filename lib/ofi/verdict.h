/* SPDX-License-Identifier: BSD-3-Clause */
/* What a trial has found, in words. */
#ifndef DP_OFI_VERDICT_H
#define DP_OFI_VERDICT_H

#include <daxpin-ofi.h>
#include <rdma/fabric.h>
#include <stdint.h>
#include "ofi/provider.h"

/* The begin of a sentence, with the bytes that are missing and all of the write. */
#define DP_VERDICT_MISSING \
	"%" PRIu64 " of %" PRIu64 " bytes of a test write did not arrive, although nothing had been closed, so it cannot be found out "
/* Its end. */
#define DP_VERDICT_FIND_OUT \
	"find out with fi_pingpong whether the provider works on this address, and with FI_LOG_LEVEL=warn what it reports"

/* Fill in report->what by the rest of the report. Of a write of `length` bytes that
 * nothing ended `missing` bytes did not arrive. */
void dp_verdict_describe(const struct fi_info *info, uint64_t missing, uint64_t length,
			 struct daxpin_ofi_report *report);
/* Fill in report->writer and writer_what by a result of dp_provider_find_device(). */
void dp_verdict_of_devices(const char *provider, int devices,
			   const struct dp_device_found *found,
			   struct daxpin_ofi_report *report);

#endif
