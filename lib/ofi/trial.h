/* SPDX-License-Identifier: BSD-3-Clause */
/* What ends a peer's access on a provider, and what stores its bytes, found out by
 * trying. */
#ifndef DP_OFI_TRIAL_H
#define DP_OFI_TRIAL_H

#include <daxpin-ofi.h>
#include <stdbool.h>
#include "util/util.h"

#define DP_TRIAL_BYTES_MAX	(8u << 20)
#define DP_TRIAL_BYTES_MIN	(1u << 20)

/*
 * Find out what ends a peer's access: write to `length` bytes of memory, through
 * endpoints of its own, and fill in what the report says of it. 0, or -errno if the
 * trial could not be made. *ret_kept: an object could not be closed. Then, and with
 * DAXPIN_OFI_ENDS_NOTHING, the memory must not be used for anything else. errmsg is
 * that of dp_endpoint_open().
 */
int dp_trial(struct fid_fabric *fabric, const struct fi_info *info, void *memory,
	     uint64_t length, struct daxpin_ofi_report *report,
	     const struct dp_errmsg *errmsg, bool *ret_kept);

/* What stores the bytes that arrive over this provider? Fills in writer and
 * writer_what; uses memory of its own. 0, or -errno. fabric may be NULL. */
int dp_trial_find_writer(const struct fi_info *info, struct fid_fabric *fabric,
			 struct daxpin_ofi_report *report);

/* The same as a check. 0: a process does, or a device whose context
 * dp_context_open() can record. -EOPNOTSUPP with a sentence, or -errno. */
int dp_trial_check_writer(const struct fi_info *info, struct fid_fabric *fabric,
			  struct daxpin_ofi_report *report,
			  const struct dp_errmsg *errmsg);

#endif
