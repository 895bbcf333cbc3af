/* SPDX-License-Identifier: BSD-3-Clause */
/* What a trial has found, in words. */
#ifndef DP_OFI_VERDICT_H
#define DP_OFI_VERDICT_H

#include <daxpin-ofi.h>
#include <rdma/fabric.h>
#include <stdint.h>

/* Fill in report->what by the rest of the report. Of a write of `length` bytes that
 * nothing ended `missing` bytes did not arrive. */
void dp_verdict_describe(const struct fi_info *info, uint64_t missing, uint64_t length,
			 struct daxpin_ofi_report *report);
/* Fill in report->writer and writer_what by a result of dp_provider_find_device(). */
struct dp_device_found;
void dp_verdict_of_devices(const char *provider, int devices,
			   const struct dp_device_found *found,
			   struct daxpin_ofi_report *report);
/* The same if `missing` bytes of a write of `length` did not arrive. */
void dp_verdict_of_missing(const char *provider, uint64_t missing, uint64_t length,
			   struct daxpin_ofi_report *report);

#endif
