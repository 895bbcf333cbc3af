/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A store is durable when it has reached the platform's power-fail domain: if power
 * fails, the platform writes it to the NVDIMMs. If that fails, the NVDIMMs count a
 * dirty shutdown. There is no such count for a disk, where the kernel waits for the
 * disk or returns an error, and for shmem, which does not survive.
 */
#include "pool/flushed.h"

void dp_flushed_counts(const struct dp_flushed *flushed,
		       const struct dp_super *super,
		       char text[DP_FLUSHED_TEXT_SIZE])
{
	uint32_t i = flushed->mapping;

	snprintf(text, DP_FLUSHED_TEXT_SIZE,
		 "NVDIMM %u of the %u in their region counts %llu dirty shutdowns, %llu when the pool was opened",
		 i + 1, flushed->now.mappings,
		 (unsigned long long)flushed->now.count[i],
		 (unsigned long long)super->dirty_shutdowns[i]);
}

static int flushed_refuse(const struct dp_flushed *flushed,
			  const struct dp_source *source,
			  const struct dp_super *super,
			  const struct dp_errmsg *errmsg)
{
	char counts[DP_FLUSHED_TEXT_SIZE];

	dp_flushed_counts(flushed, super, counts);
	if (!flushed->now.nvdimms)
		return dp_fail(errmsg, -EOPNOTSUPP,
			       "%s: it is unknown whether durable stores reach the NVDIMMs when power fails, because sysfs does not show the count of dirty shutdowns of each NVDIMM (/sys/bus/nd/devices/nmem*/nfit/dirty_shutdown): mount /sys, or open without DAXPIN_POOL_NEED_FLUSHED",
			       source->path);
	if (flushed->dirty == DP_UNKNOWN &&
	    super->nvdimms == flushed->now.nvdimms)
		return dp_fail(errmsg, -EUCLEAN,
			       "%s was not closed, and a count of dirty shutdowns of its NVDIMMs was reset since it was opened (%s), so it is unknown whether all durable stores reached them; the pool was left untouched: open it without DAXPIN_POOL_NEED_FLUSHED and check its contents",
			       source->path, counts);
	if (flushed->dirty == DP_UNKNOWN)
		return dp_fail(errmsg, -EUCLEAN,
			       "%s was not closed, and has no record of the earlier count of dirty shutdowns of these NVDIMMs, so it is unknown whether all durable stores reached them; the pool was left untouched: open it without DAXPIN_POOL_NEED_FLUSHED and check its contents",
			       source->path);
	return dp_fail(errmsg, -EUCLEAN,
		       "%s was not closed, and after that power has failed before all durable stores had reached the NVDIMMs (%s); the pool was left untouched: open it without DAXPIN_POOL_NEED_FLUSHED and check its contents, or restore a backup",
		       source->path, counts);
}

int dp_flushed_check(struct dp_flushed *flushed, const struct dp_source *source,
		     int fd, const struct dp_super *super, bool needed,
		     const struct dp_errmsg *errmsg)
{
	*flushed = (struct dp_flushed) { .dirty = DP_NO };
	if (source->kind == DP_SOURCE_DEVDAX)
		flushed->now = dp_shutdowns_of_device(source->device);
	else if (source->kind == DP_SOURCE_FSDAX)
		flushed->now = dp_shutdowns_of_disk(fd);
	else
		return 0;
	flushed->dirty = dp_shutdowns_compare(super, &flushed->now,
					      &flushed->mapping);
	if (!needed || flushed->dirty == DP_NO)
		return 0;
	return flushed_refuse(flushed, source, super, errmsg);
}
