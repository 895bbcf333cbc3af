/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A store is durable when it has reached the platform's power-fail domain: if the
 * power fails, the platform brings it to the NVDIMMs. Where that failed they count a
 * dirty shutdown. A filesystem's disk has no such thing: there the kernel has waited
 * for the disk, or an error was returned. Nor has shmem, which is gone.
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
			       "%s: whether all that is durable reaches the NVDIMMs when power fails cannot be told here: the count of dirty shutdowns of every one is not seen in sysfs (/sys/bus/nd/devices/nmem*/nfit/dirty_shutdown); mount /sys, or open without DAXPIN_POOL_NEED_FLUSHED",
			       source->path);
	if (flushed->dirty == DP_UNKNOWN &&
	    super->nvdimms == flushed->now.nvdimms)
		return dp_fail(errmsg, -EUCLEAN,
			       "%s was not closed, and the count of dirty shutdowns of its NVDIMMs was reset since it was opened (%s): whether all that was durable arrived cannot be told; the pool was left untouched: open it without DAXPIN_POOL_NEED_FLUSHED and check what it has",
			       source->path, counts);
	if (flushed->dirty == DP_UNKNOWN)
		return dp_fail(errmsg, -EUCLEAN,
			       "%s was not closed, and does not record how many dirty shutdowns these NVDIMMs had counted before: whether all that was durable arrived cannot be told; the pool was left untouched: open it without DAXPIN_POOL_NEED_FLUSHED and check what it has",
			       source->path);
	return dp_fail(errmsg, -EUCLEAN,
		       "%s was not closed, and since then power has failed before all that was durable had arrived (%s); the pool was left untouched: open it without DAXPIN_POOL_NEED_FLUSHED and check what it has, or restore a backup",
		       source->path, counts);
}

int dp_flushed_look(struct dp_flushed *flushed, const struct dp_source *source,
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
