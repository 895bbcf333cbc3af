/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What an RDMA device does with this memory: pinned regions, on-demand regions,
 * memory windows. The trials are those of daxpin_rdma_probe(3), on scratch memory
 * only; a device-dax node is registered and released.
 */
#include <daxpin-rdma.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "doctor.h"

#define EINTR_TRIES	100

struct bench {
	struct ibv_context *context;
	struct ibv_pd *pd;
	void *memory;			/* what regions are tried on, or NULL */
	int touch_error;		/* 0, or why nothing is tried on it */
	struct daxpin_rdma_report report;
};

static enum verdict verdict_of(const struct daxpin_rdma_finding *finding)
{
	if (finding->verdict == DAXPIN_RDMA_WORKS)
		return VERDICT_YES;
	return finding->verdict == DAXPIN_RDMA_NONE ||
	       finding->verdict == DAXPIN_RDMA_WRONG ? VERDICT_NO :
	       VERDICT_UNKNOWN;
}

/* --------------------------------------------------------------- the device */

/* Append the name of each device to text; or, without text, open the one that is
 * wanted. */
static struct ibv_context *visit(const char *wanted, char *text, size_t size)
{
	struct ibv_context *context = NULL;
	struct ibv_device **list;
	int count = 0;

	list = ibv_get_device_list(&count);
	for (int i = 0; list && i < count; i++) {
		const char *name = ibv_get_device_name(list[i]);
		size_t used = text ? strlen(text) : 0;

		if (text)
			snprintf(text + used, size - used, "%s%s",
				 used ? " " : "", name);
		else if (wanted && !strcmp(name, wanted))
			context = ibv_open_device(list[i]);
	}
	if (list)
		ibv_free_device_list(list);
	return context;
}

static int open_bench(struct bench *bench, const char *device)
{
	errno = 0;
	bench->context = visit(device, NULL, 0);
	if (!bench->context)
		return errno ? -errno : -ENODEV;
	bench->pd = ibv_alloc_pd(bench->context);
	return bench->pd ? 0 : -errno;
}

static void close_bench(struct bench *bench)
{
	if (bench->pd)
		ibv_dealloc_pd(bench->pd);
	if (bench->context)
		ibv_close_device(bench->context);
}

/* ----------------------------------------------------------- pinned regions */

static const char *pinned_remedy(const struct place *place, int error)
{
	if (error == -ENOMEM)
		return "raise RLIMIT_MEMLOCK, or give CAP_IPC_LOCK";
	if (place->source == DAXPIN_SOURCE_FSDAX)
		return "use a device-dax pool for RDMA: no kernel allows it on a DAX filesystem";
	return "see the kernel's log";
}

/* The command must not write to a device's memory, so it only registers it. */
static void try_untouched(struct bench *bench, const struct testbed *testbed)
{
	struct daxpin_rdma_finding *finding = &bench->report.pinned;
	struct ibv_mr *mr = NULL;

	for (int i = 0; !mr && i < EINTR_TRIES; i++) {
		errno = 0;
		mr = ibv_reg_mr(bench->pd, testbed->base, CHUNK,
				IBV_ACCESS_LOCAL_WRITE |
				IBV_ACCESS_REMOTE_WRITE |
				IBV_ACCESS_REMOTE_READ);
		if (!mr && errno != EINTR)
			break;
	}
	finding->error = mr ? 0 : -errno;
	finding->verdict = mr ? DAXPIN_RDMA_WORKS : DAXPIN_RDMA_NONE;
	snprintf(finding->what, sizeof(finding->what), "2 MiB were %s%s",
		 mr ? "registered, and nothing was stored to them" : "refused: ",
		 mr ? "" : strerror(errno));
	if (mr)
		ibv_dereg_mr(mr);
}

/* Report that no region was tried, because the memory is bad, or there is none. */
static void report_no_memory(struct doctor *doctor, const struct bench *bench,
			     struct answer answer)
{
	if (!bench->touch_error) {
		doctor_report_no_testbed(doctor, answer.subject, answer.needed);
		return;
	}
	answer.verdict = VERDICT_UNKNOWN;
	answer.remedy = "check in the kernel's log whether the medium is bad";
	doctor_report(doctor, answer, "the kernel cannot make the memory present: %s",
		      strerror(-bench->touch_error));
}

static void report_pinned(struct doctor *doctor, struct bench *bench)
{
	const struct daxpin_rdma_finding *finding = &bench->report.pinned;
	struct answer answer = {
		.subject = SUBJECT_PINNED_MR,
		.needed = doctor->place.source != DAXPIN_SOURCE_FSDAX,
	};

	if (doctor->testbed.base && !doctor->testbed.scratch)
		try_untouched(bench, &doctor->testbed);
	if (finding->verdict == DAXPIN_RDMA_UNTRIED) {
		report_no_memory(doctor, bench, answer);
		return;
	}
	answer.verdict = verdict_of(finding);
	if (answer.verdict != VERDICT_YES)
		answer.remedy = pinned_remedy(&doctor->place, finding->error);
	doctor_report(doctor, answer, "%s", finding->what);
}

/* -------------------------------------------------------- on-demand regions */

static void report_odp(struct doctor *doctor, struct bench *bench)
{
	const struct daxpin_rdma_finding *finding = &bench->report.odp;
	struct answer answer = {
		.subject = SUBJECT_ODP,
		.verdict = verdict_of(finding),
		.needed = doctor->place.source == DAXPIN_SOURCE_FSDAX,
	};

	if (finding->verdict == DAXPIN_RDMA_UNTRIED) {
		report_no_memory(doctor, bench, answer);
		return;
	}
	if (answer.verdict != VERDICT_YES)
		answer.remedy = answer.needed ?
			"a program can attach with DAXPIN_RDMA_BOUNCE, so that grants use a copy of the extent, or use a device-dax pool for RDMA" :
			"nothing needs to be done: daxpin uses pinned regions on this memory";
	doctor_report(doctor, answer, "%s", finding->what);
}

/* ----------------------------------------------------------- memory windows */

static void report_windows(struct doctor *doctor, struct bench *bench)
{
	const struct daxpin_rdma_report *report = &bench->report;
	struct answer answer = {
		.subject = SUBJECT_WINDOWS,
		.verdict = verdict_of(&report->window2),
		.remedy = "nothing needs to be done: without windows each grant has a region of its own",
	};

	doctor_report(doctor, answer, "type 2: %s; type 1: %s",
		      report->window2.what, report->window1.what);
}

/* ---------------------------------------------------------------------- all */

static void report_unasked(struct doctor *doctor)
{
	char names[256] = "";

	visit(NULL, names, sizeof(names));
	if (names[0])
		doctor_report(doctor, (struct answer) {
			.subject = SUBJECT_RDMA, .verdict = VERDICT_UNKNOWN,
			.remedy = "name a device with --rdma DEVICE",
		}, "no device was tried; this machine has: %s", names);
	else
		doctor_report(doctor, (struct answer) {
			.subject = SUBJECT_RDMA, .verdict = VERDICT_NO,
		}, "this machine has no RDMA device");
}

static void report_unusable(struct doctor *doctor, int error)
{
	char names[256] = "";

	visit(NULL, names, sizeof(names));
	doctor_report(doctor, (struct answer) {
		.subject = SUBJECT_RDMA, .verdict = VERDICT_NO,
		.needed = true,
		.remedy = "name a device of this machine that has a port that is up (rdma link)",
	}, "%s cannot be connected with itself: %s; this machine has: %s",
		      doctor->rdma, strerror(-error), names[0] ? names : "none");
}

/* The command must not store to a device, so there on-demand regions are tried on
 * ordinary memory. That shows what the driver does; pools on a device do not use such
 * regions. */
static int try_device(struct doctor *doctor, struct bench *bench)
{
	uint32_t tries = 0;

	bench->report.size = sizeof(bench->report);
	if (doctor->place.source != DAXPIN_SOURCE_DISK)
		tries = DAXPIN_RDMA_TRY_ODP | DAXPIN_RDMA_TRY_WINDOWS;
	if (tries && doctor->testbed.scratch)
		tries |= DAXPIN_RDMA_TRY_PINNED;
	if (bench->memory)
		bench->touch_error = testbed_touch(bench->memory,
						   DAXPIN_RDMA_TRY_BYTES, true);
	if (!bench->memory || bench->touch_error)
		tries &= DAXPIN_RDMA_TRY_WINDOWS;
	return daxpin_rdma_probe(bench->pd, bench->memory,
				 DAXPIN_RDMA_TRY_BYTES, tries, &bench->report);
}

static void report_all(struct doctor *doctor, struct bench *bench)
{
	doctor_report(doctor, (struct answer) {
		.subject = SUBJECT_RDMA, .verdict = VERDICT_YES,
		.needed = true,
	}, "%s was connected with itself", doctor->rdma);
	if (doctor->place.source == DAXPIN_SOURCE_DISK) {
		doctor_report(doctor, (struct answer) {
			.subject = SUBJECT_PINNED_MR, .verdict = VERDICT_NO,
		}, "it was not tried: the page cache loses what a device writes to its pages");
		return;
	}
	report_pinned(doctor, bench);
	report_odp(doctor, bench);
	report_windows(doctor, bench);
}

void doctor_rdma(struct doctor *doctor)
{
	const struct testbed *testbed = &doctor->testbed;
	struct bench bench = { 0 };
	int ret;

	if (!doctor->rdma) {
		report_unasked(doctor);
		return;
	}
	bench.memory = testbed->scratch ? testbed->base :
		       aligned_alloc(PAGE, DAXPIN_RDMA_TRY_BYTES);
	ret = open_bench(&bench, doctor->rdma);
	if (!ret)
		ret = try_device(doctor, &bench);
	if (ret)
		report_unusable(doctor, ret);
	else
		report_all(doctor, &bench);
	close_bench(&bench);
	if (!testbed->scratch)
		free(bench.memory);
}
