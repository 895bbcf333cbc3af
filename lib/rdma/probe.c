/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests what a device does with regions and windows: soft-RoCE's on-demand regions
 * corrupt data that is written through them, and report success (rdma.md R14). Owns the
 * loopback connection for the tests.
 */

#include "rdma/probe.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "rdma/loopback.h"
#include "rdma/mr.h"
#include "grant/retry.h"
#include "rdma/window_probe.h"
#include "util/cancel.h"
#include "util/util.h"

#define PAGE		DAXPIN_BLOCK_SIZE
#define OFFSET		1234u		/* not the start of a page */
#define WAIT_LIMIT_MS	30000		/* for all waits of one probe */
#define ACCESS		(IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | \
			 IBV_ACCESS_REMOTE_READ)
#define TRIES		(DAXPIN_RDMA_TRY_PINNED | DAXPIN_RDMA_TRY_ODP | \
			 DAXPIN_RDMA_TRY_WINDOWS)

static_assert(OFFSET + DP_LOOPBACK_BYTES < DAXPIN_RDMA_TRY_BYTES,
	      "with something behind it");

__attribute__((format(printf, 3, 4)))
static void probe_report(struct daxpin_rdma_finding *finding, uint32_t verdict,
			 const char *format, ...)
{
	va_list args;

	finding->verdict = verdict;
	va_start(args, format);
	vsnprintf(finding->what, sizeof(finding->what), format, args);
	va_end(args);
}

/* ------------------------------------------------ does it arrive as it was? */

struct transfer {
	int status;			/* of the first failure, or -errno */
	uint64_t wrong_written, wrong_read;
};

static void probe_pattern(unsigned char *bytes, size_t size, unsigned int seed)
{
	for (size_t i = 0; i < size; i++)
		bytes[i] = (i * 167 + (i >> 8) * 59 + seed) & 0xff;
}

static uint64_t probe_differences(const unsigned char *a,
				  const unsigned char *b, size_t size)
{
	uint64_t count = 0;

	for (size_t i = 0; i < size; i++)
		count += a[i] != b[i];
	return count;
}

/* Write several packets into the middle of the region, compare the whole region, and
 * read the bytes back. */
static struct transfer probe_try_transfer(struct dp_loopback *loopback,
					  const struct ibv_mr *mr,
					  unsigned char *expected)
{
	unsigned char *memory = mr->addr;
	struct transfer t = { 0 };

	probe_pattern(memory, DAXPIN_RDMA_TRY_BYTES, 1);
	probe_pattern(dp_loopback_source(loopback), DP_LOOPBACK_BYTES, 2);
	memcpy(expected, memory, DAXPIN_RDMA_TRY_BYTES);
	memcpy(expected + OFFSET, dp_loopback_source(loopback),
	       DP_LOOPBACK_BYTES);
	t.status = dp_loopback_write(loopback, memory + OFFSET, mr->rkey,
				     DP_LOOPBACK_BYTES);
	if (t.status)
		return t;
	t.wrong_written =
		probe_differences(memory, expected, DAXPIN_RDMA_TRY_BYTES);
	/* Compare with the memory, not with what was written: a wrong write must not
	 * count as a wrong read. */
	probe_pattern(dp_loopback_sink(loopback), DP_LOOPBACK_BYTES, 3);
	t.status = dp_loopback_read(loopback, memory + OFFSET, mr->rkey,
				    DP_LOOPBACK_BYTES);
	if (!t.status)
		t.wrong_read = probe_differences(memory + OFFSET,
						 dp_loopback_sink(loopback),
						 DP_LOOPBACK_BYTES);
	return t;
}

static void probe_report_transfer(const struct transfer *t,
				  struct daxpin_rdma_finding *finding)
{
	if (t->status)
		probe_report(finding, DAXPIN_RDMA_UNKNOWN, "a transfer failed: %s",
			     t->status < 0 ? strerror(-t->status) :
			     ibv_wc_status_str((enum ibv_wc_status)t->status));
	else if (t->wrong_written || t->wrong_read)
		probe_report(
			finding, DAXPIN_RDMA_WRONG,
			"it corrupts data: writing %u bytes to an odd address left %" PRIu64
			" wrong bytes in memory, and reading them back returned %" PRIu64
			" wrong bytes; both requests reported success",
			DP_LOOPBACK_BYTES, t->wrong_written, t->wrong_read);
	else
		probe_report(finding, DAXPIN_RDMA_WORKS,
			     "%u bytes at an odd address were written and read back as they were",
			     DP_LOOPBACK_BYTES);
}

/* 0 and a finding, or -errno; *ret_kept: the device did not deregister the region. */
static int probe_try_region(struct dp_loopback *loopback, void *memory,
			    int access, struct daxpin_rdma_finding *finding,
			    bool *ret_kept)
{
	unsigned char *expected = malloc(DAXPIN_RDMA_TRY_BYTES);
	struct transfer t;
	struct ibv_mr *mr;
	int ret = expected ? 0 : -ENOMEM;

	if (!ret)
		ret = dp_loopback_connect(loopback);
	if (ret) {
		free(expected);
		return ret;
	}
	ret = dp_mr_register(dp_loopback_pd(loopback), memory, DAXPIN_RDMA_TRY_BYTES,
			     access, &mr);
	if (ret) {
		/* Lack of memory proves nothing about the device. */
		probe_report(finding, ret == -ENOMEM || dp_retry_is_transient(ret) ?
			     DAXPIN_RDMA_UNKNOWN : DAXPIN_RDMA_NONE,
			     "refused: %s", strerror(-ret));
		finding->error = ret;
		free(expected);
		return 0;
	}
	t = probe_try_transfer(loopback, mr, expected);
	probe_report_transfer(&t, finding);
	free(expected);
	ret = dp_mr_deregister(mr);
	*ret_kept = ret != 0;
	return ret;
}

/* -------------------------------------------------------------------- kinds */

static bool probe_has_odp(struct ibv_context *context)
{
	const uint32_t needed = IBV_ODP_SUPPORT_WRITE | IBV_ODP_SUPPORT_READ;
	struct ibv_device_attr_ex attr = { 0 };
	const struct ibv_odp_caps *caps = &attr.odp_caps;

	return !ibv_query_device_ex(context, NULL, &attr) &&
	       caps->general_caps & IBV_ODP_SUPPORT &&
	       (caps->per_transport_caps.rc_odp_caps & needed) == needed;
}

static int probe_try_odp(struct dp_loopback *loopback, void *memory,
			 struct daxpin_rdma_finding *finding, bool *ret_kept)
{
	if (probe_has_odp(dp_loopback_pd(loopback)->context))
		return probe_try_region(loopback, memory,
					ACCESS | IBV_ACCESS_ON_DEMAND, finding,
					ret_kept);
	probe_report(finding, DAXPIN_RDMA_NONE,
		     "the device or its driver has no on-demand paging for reads and writes");
	return 0;
}

static int probe_try_all(struct dp_loopback *loopback, void *memory,
			 uint32_t tries, struct daxpin_rdma_report *report,
			 bool *ret_kept)
{
	int ret = 0;

	if (tries & DAXPIN_RDMA_TRY_PINNED)
		ret = probe_try_region(loopback, memory, ACCESS,
				       &report->pinned, ret_kept);
	if (!ret && tries & DAXPIN_RDMA_TRY_ODP)
		ret = probe_try_odp(loopback, memory, &report->odp, ret_kept);
	if (!ret && tries & DAXPIN_RDMA_TRY_WINDOWS)
		ret = dp_window_probe(loopback, IBV_MW_TYPE_2,
				      &report->window2);
	if (!ret && tries & DAXPIN_RDMA_TRY_WINDOWS)
		ret = dp_window_probe(loopback, IBV_MW_TYPE_1,
				      &report->window1);
	return ret;
}

void dp_rdma_report_init(struct daxpin_rdma_report *report)
{
	struct daxpin_rdma_finding *const findings[] = {
		&report->pinned, &report->odp,
		&report->window2, &report->window1,
	};

	for (unsigned int i = 0; i < sizeof(findings) / sizeof(findings[0]);
	     i++)
		probe_report(findings[i], DAXPIN_RDMA_UNTRIED, "was not tried");
}

int dp_rdma_probe(struct ibv_pd *pd, void *memory, uint32_t tries,
		  struct daxpin_rdma_report *report, bool *ret_kept)
{
	struct dp_loopback loopback;
	int ret, close_ret;

	ret = dp_loopback_open(&loopback, pd,
			       daxpin_deadline_ms(WAIT_LIMIT_MS));
	if (!ret)
		ret = probe_try_all(&loopback, memory, tries, report, ret_kept);
	close_ret = dp_loopback_close(&loopback);
	return ret ? ret : close_ret;
}

DP_EXPORT int daxpin_rdma_probe(struct ibv_pd *pd, void *memory, size_t length,
				uint32_t tries,
				struct daxpin_rdma_report *ret_report)
{
	DP_UNCANCELLED();
	struct daxpin_rdma_report report = { .size = sizeof(report) };
	bool kept = false;
	int ret;

	if (!pd || !ret_report || tries & ~TRIES)
		return -EINVAL;
	if (tries & (DAXPIN_RDMA_TRY_PINNED | DAXPIN_RDMA_TRY_ODP) &&
	    (!memory || (uintptr_t)memory % PAGE ||
	     length < DAXPIN_RDMA_TRY_BYTES))
		return -EINVAL;
	dp_rdma_report_init(&report);
	ret = dp_rdma_probe(pd, memory, tries, &report, &kept);
	if (ret)
		return ret;
	return dp_return_versioned(ret_report, &report, sizeof(report));
}
