/* SPDX-License-Identifier: BSD-3-Clause */
/* The sentences about the verdict of a trial: what it is, what shows it, and if it is
 * none, how to find out. */
#include "ofi/verdict.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "ofi/provider.h"

static void verdict_describe_unknown(const struct fi_info *info, uint64_t missing,
				     uint64_t length, struct daxpin_ofi_report *report)
{
	const char *provider = info->fabric_attr->prov_name;
	char *what = report->what;
	const size_t size = sizeof(report->what);

	if (missing)
		snprintf(what, size,
			 "%s: " DP_VERDICT_MISSING
			 "what ends a peer's access: " DP_VERDICT_FIND_OUT,
			 provider, missing, length);
	else if (dp_provider_rdma_device(info))
		snprintf(what, size,
			 "%s: it could not be shown that the close of a region ends a peer's access (%" PRIu64 " bytes arrived after it), and on RDMA only that is relied on: if the registration cache is on, set FI_MR_CACHE_MAX_COUNT=0; otherwise use libdaxpin-rdma",
			 provider, report->region_late);
	else if (report->rounds)
		snprintf(what, size,
			 "%s: %" PRIu32 " test writes were in progress at a close, but at no close of the endpoint had a part of one arrived, so it is unknown whether it ends a write in the middle: try again when the machine is less busy; if the sentence is the same, use another provider",
			 provider, report->rounds);
	else
		snprintf(what, size,
			 "%s: a peer's write arrives at once, without the owner's part, so it is unknown whether the owner can end one: call fi_getinfo() without FI_MR_VIRT_ADDR in mr_mode, or use another provider",
			 provider);
}

static void verdict_describe_known(const char *provider,
				   struct daxpin_ofi_report *report)
{
	char *what = report->what;
	const size_t size = sizeof(report->what);

	if (report->ends == DAXPIN_OFI_ENDS_REGION)
		snprintf(what, size,
			 "%s: the close of a region ends a peer's access: after it no byte of %" PRIu32 " writes in progress arrived",
			 provider, report->rounds);
	else if (report->ends == DAXPIN_OFI_ENDS_ENDPOINT && !report->region_late)
		snprintf(what, size,
			 "%s: the close of the endpoint ends a peer's access, so a revoke ends all grants of the peer; whether the close of a region does could not be shown",
			 provider);
	else if (report->ends == DAXPIN_OFI_ENDS_ENDPOINT)
		snprintf(what, size,
			 "%s: only the close of the endpoint ends a peer's access (%" PRIu64 " bytes arrived after the close of a region), so a revoke ends all grants of the peer",
			 provider, report->region_late);
	else if (report->ends == DAXPIN_OFI_ENDS_NOTHING)
		snprintf(what, size,
			 "%s: %" PRIu64 " bytes of a peer's write arrived after the region and the endpoint were closed: if its registration cache is on, set FI_MR_CACHE_MAX_COUNT=0; otherwise use another provider",
			 provider, report->endpoint_late);
}

void dp_verdict_describe(const struct fi_info *info, uint64_t missing, uint64_t length,
			 struct daxpin_ofi_report *report)
{
	if (report->ends == DAXPIN_OFI_ENDS_UNKNOWN)
		verdict_describe_unknown(info, missing, length, report);
	else
		verdict_describe_known(info->fabric_attr->prov_name, report);
}

static void verdict_describe_device(const char *provider,
				    const struct dp_device_found *found, char *what,
				    size_t size)
{
	if (!found->name[0])
		snprintf(what, size,
			 "%s: this process has closed a verbs context that another process keeps open, and it is unknown whether a device stores a peer's bytes: %s; or use libdaxpin-rdma",
			 provider, found->reason);
	else if (found->reason[0])
		snprintf(what, size,
			 "%s: this process has %s open or mapped, and it is unknown whether that stores a peer's bytes: %s; or use a process without it (InaccessiblePaths=/dev/infiniband of systemd), or libdaxpin-rdma",
			 provider, found->name, found->reason);
	else
		snprintf(what, size,
			 "%s: this process has %s open or mapped, so it is unknown whether a device stores a peer's bytes: find out with daxpin doctor --fabric whether the provider opens it; if not, attach before the program opens it, or in a process without it; otherwise "
			 DP_PROVIDER_CURE, provider, found->name);
}

void dp_verdict_of_devices(const char *provider, int devices,
			   const struct dp_device_found *found,
			   struct daxpin_ofi_report *report)
{
	char *what = report->writer_what;
	const size_t size = sizeof(report->writer_what);

	if (devices < 0) {
		snprintf(what, size,
			 "%s: whether this process has a device open that could write cannot be read in /proc/PID/fd, /proc/PID/maps and by RDMA netlink: %s",
			 provider, strerror(-devices));
	} else if (!devices) {
		report->writer = DAXPIN_OFI_WRITER_PROCESS;
		snprintf(what, size,
			 "%s: this process has no device open through which memory is registered, so nothing writes for it after its death",
			 provider);
	} else {
		verdict_describe_device(provider, found, what, size);
	}
}
