/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A provider of libfabric that gets wrong what a test says. It passes all other calls
 * to a real provider. One fabric at a time.
 */
#ifndef OFI_DOUBLE_H
#define OFI_DOUBLE_H

#include <rdma/fabric.h>
#include <stdbool.h>
#include <stdint.h>

struct ofi_double {
	bool makes_no_progress;
	bool stops_at_a_post;		/* no progress after fi_write() was accepted, */
	uint64_t lively;		/* ... but in the nth two domains for bit n */
	uint64_t unconnected;		/* fi_write() returns -FI_EAGAIN in the nth two
					   domains for bit n, */
	uint64_t disconnects;		/* ... or there after the close of a region, */
	int post_error;			/* ... with this instead of -FI_EAGAIN */
	bool ends_access;		/* after the close of a region no byte arrives,
					   and writes fail, */
	int old_key_error;		/* ... with this if they were posted after that,
					   instead of FI_EIO, */
	bool cancels;			/* ... or with FI_ECANCELED, unless on an
					   endpoint that was opened after that, */
	unsigned int refusal_ms;	/* ... but not before this time */
	unsigned int start;		/* reads without progress after each open of a
					   domain */
	unsigned int delay;		/* reads without progress after each close of a
					   region */
	bool goes_on;			/* what it keeps makes progress when the clock
					   is read, after all domains were closed */
	uint64_t at_once;		/* a write of up to so many bytes is stored in
					   one read of a queue, unless its region was
					   closed before, and does not complete */
	bool opens_a_device;		/* a device file, at the first fi_write() */
	bool keeps_regions;		/* fi_close() succeeds and does nothing, */
	bool keeps_endpoints;		/* ... also for what belongs to them */
	unsigned int regions_max;	/* open ones; 0: any number */
	int bind_error;			/* of regions, with FI_MR_ENDPOINT */
	int endpoint_error;		/* of the open of an endpoint */
	/* What the next `refusals` closes of an object of this FI_CLASS_... return,
	 * after `accepted` others. */
	size_t refused_class;
	unsigned int accepted;
	int refusal;
	unsigned int refusals;
};

/* The test writes to it at any time. */
extern struct ofi_double ofi_double;

/* The test calls it when the clock is read. */
void ofi_double_on_clock(void);
/* Does it make no progress now, or accept no write? */
bool ofi_double_is_idle(void);
/* Is there a file that opens_a_device can open? */
bool ofi_double_has_device(void);

struct fid_fabric *ofi_double_open(const struct fi_info *info);
/* Close what the double has kept, and the fabric. */
int ofi_double_close(void);

#endif
