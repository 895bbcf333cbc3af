/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * In sysfs a medium is part of a region, which has a mapping for each of its NVDIMMs;
 * each NVDIMM has an id and a count. The counts are compared one by one: in a sum, the
 * reset of one count would hide that another has grown. If any of these cannot be read,
 * the result is unknown (W11).
 */
#include <errno.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/sysmacros.h>
#include "media/shutdowns.h"
#include "media/super.h"
#include "os/os.h"

#define PATH_SIZE	192u
#define NAME_SIZE	32u
#define ID_SIZE		64u

/* The directories of an NVDIMM's attributes, named for its provider. */
static const char *const providers[] = { "nfit", "cxl" };

/* Read an attribute, without its newline. -errno: it does not exist, is empty, or
 * something is mounted over it (W10). */
static int shutdowns_read(const char *path, char *text, size_t size)
{
	int length = dp_os_read_file(path, text, size);

	if (length < 0)
		return length;
	if (dp_os_is_genuine(path, SYSFS_MAGIC) <= 0)
		return -EIO;
	text[strcspn(text, "\n")] = '\0';
	return text[0] ? 0 : -EIO;
}

static int shutdowns_read_number(const char *path, uint64_t *ret_number)
{
	char text[ID_SIZE], *end;
	int ret = shutdowns_read(path, text, sizeof(text));

	if (ret)
		return ret;
	errno = 0;
	*ret_number = strtoull(text, &end, 0);
	return *end || text[0] == '-' || errno ? -EIO : 0;
}

/* Add one NVDIMM, from the attributes of one provider. */
static int shutdowns_add_from(struct dp_shutdowns *all, const char *nvdimm,
			      const char *provider)
{
	char path[PATH_SIZE];
	struct {
		uint64_t before;
		char id[ID_SIZE];
	} chain = { .before = all->nvdimms };
	uint64_t count;
	int ret;

	snprintf(path, sizeof(path), "/sys/bus/nd/devices/%s/%s/id", nvdimm,
		 provider);
	ret = shutdowns_read(path, chain.id, sizeof(chain.id));
	snprintf(path, sizeof(path), "/sys/bus/nd/devices/%s/%s/dirty_shutdown",
		 nvdimm, provider);
	if (!ret)
		ret = shutdowns_read_number(path, &count);
	if (ret)
		return ret;
	/* Clear the bytes behind the id, which are part of the digest. */
	memset(chain.id + strlen(chain.id), 0,
	       sizeof(chain.id) - strlen(chain.id));
	all->nvdimms = dp_layout_digest(&chain, sizeof(chain)) | 1;
	all->count[all->mappings++] = count;
	return 0;
}

/* A mapping is "nmem0,0,1073741824,0": the NVDIMM's name, then a range of its bytes. */
static int shutdowns_add(struct dp_shutdowns *all, const char *region,
			 uint64_t mapping)
{
	char path[PATH_SIZE], nvdimm[NAME_SIZE];
	int ret;

	snprintf(path, sizeof(path), "%s/mapping%llu", region,
		 (unsigned long long)mapping);
	ret = shutdowns_read(path, nvdimm, sizeof(nvdimm));
	if (ret)
		return ret;
	nvdimm[strcspn(nvdimm, ",")] = '\0';
	ret = -ENOENT;
	for (size_t i = 0; ret && i < sizeof(providers) / sizeof(*providers); i++)
		ret = shutdowns_add_from(all, nvdimm, providers[i]);
	return ret;
}

static struct dp_shutdowns shutdowns_of_region(const char *region)
{
	const struct dp_shutdowns none = { 0 };
	struct dp_shutdowns all = { 0 };
	char path[PATH_SIZE];
	uint64_t mappings;
	int ret;

	snprintf(path, sizeof(path), "%s/mappings", region);
	ret = shutdowns_read_number(path, &mappings);
	if (ret || !mappings || mappings > DP_NVDIMMS_MAX)
		return none;
	for (uint64_t i = 0; !ret && i < mappings; i++)
		ret = shutdowns_add(&all, region, i);
	return ret ? none : all;
}

/* The device is two levels below its region: region0/dax0.0/dax0.0. */
struct dp_shutdowns dp_shutdowns_of_device(const char *device)
{
	char region[PATH_SIZE];

	snprintf(region, sizeof(region), "/sys/bus/dax/devices/%s/../..", device);
	return shutdowns_of_region(region);
}

/* A disk's device is a namespace, or belongs to one, and is one level below its
 * region. */
struct dp_shutdowns dp_shutdowns_of_disk(int fd)
{
	char dir[PATH_SIZE / 3], path[PATH_SIZE / 2];
	struct stat st;
	uint64_t start;

	/* A realtime file is on a second device, which stat() does not report. */
	if (dp_os_fstat(fd, &st) || dp_os_is_realtime(fd))
		return (struct dp_shutdowns) { 0 };
	snprintf(dir, sizeof(dir), "/sys/dev/block/%u:%u", major(st.st_dev),
		 minor(st.st_dev));
	snprintf(path, sizeof(path), "%s/start", dir);
	snprintf(path, sizeof(path), "%s/%sdevice/..", dir,
		 shutdowns_read_number(path, &start) ? "" : "../");
	return shutdowns_of_region(path);
}

/* A count never falls by itself. A lower one was reset, and it is unknown what the
 * NVDIMM has counted since the record. */
static enum dp_tristate shutdowns_compare_one(uint64_t before, uint64_t now)
{
	if (now > before)
		return DP_YES;
	return now == before ? DP_NO : DP_UNKNOWN;
}

/* DP_YES if any count has grown; otherwise DP_UNKNOWN if any has fallen. */
static enum dp_tristate shutdowns_compare_all(const uint64_t *before,
					      const uint64_t *now,
					      uint32_t *ret_mapping)
{
	enum dp_tristate all = DP_NO, one;

	for (uint32_t i = 0; all != DP_YES && i < DP_NVDIMMS_MAX; i++) {
		one = shutdowns_compare_one(before[i], now[i]);
		if (one == DP_NO || (all == DP_UNKNOWN && one != DP_YES))
			continue;
		all = one;
		*ret_mapping = i;
	}
	return all;
}

enum dp_tristate dp_shutdowns_compare(const struct dp_super *super,
				      const struct dp_shutdowns *now,
				      uint32_t *ret_mapping)
{
	if (!now->nvdimms)
		return DP_UNKNOWN;
	if (!dp_super_is_unclean(super))
		return DP_NO;
	if (super->nvdimms != now->nvdimms)
		return DP_UNKNOWN;
	return shutdowns_compare_all(super->dirty_shutdowns, now->count,
				     ret_mapping);
}

void dp_shutdowns_record(struct dp_super *super,
			 const struct dp_shutdowns *now)
{
	if (dp_super_is_unclean(super))
		return;
	super->nvdimms = now->nvdimms;
	memcpy(super->dirty_shutdowns, now->count,
	       sizeof(super->dirty_shutdowns));
}
