/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_image: pools that are damaged or forged, and files that are no pools. An input
 * is a header and then records of edit.h, which change one of a few good pools. Then
 *
 * - an open, for reading and for writing, succeeds exactly if the second reader in
 * reader.c accepts the pool, and finds the same contents;
 *
 * - an open that fails returns an errno that the manual lists, with a message, and has
 * not stored, created or resized anything, and leaves nothing open or mapped;
 *
 * - a pool that was opened keeps all invariants (dp_invariants) while it is used, and
 * opens again with everything that was published.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <daxpin.h>
#include "support/invariant.h"
#include "edit.h"
#include "format.h"
#include "reader.h"

#define MIB		(1ull << 20)
#define EDITS_MAX	256u
#define WORK_MAX	8u

/* The first record. */
struct header {
	uint8_t base;
	uint8_t kind;
	uint8_t granularity;
	uint8_t what;			/* DO_... */
	uint32_t unused;
	uint8_t work[WORK_MAX];
};

#define DO_CREATE	0x1u		/* at the end: create a pool there */
#define DO_OVERWRITE	0x2u		/* and overwrite what is there */
#define NO_READONLY	0x4u		/* do not open it for reading first */
#define DO_DEGRADED	0x8u		/* use DAXPIN_POOL_DEGRADED */
#define IMPATIENT	0x10u		/* with a deadline that has passed */
#define DO_CHECK	0x20u		/* daxpin_check() before */
#define ADOPT		0x40u		/* use DAXPIN_POOL_ADOPT */
#define DO_OBJECTS	0x80u		/* keep and free objects, too */

static_assert(sizeof(struct header) == sizeof(struct edit), "a record");

static char errmsg[512];

static struct daxpin_pool_options options_for(const struct header *header,
					      uint32_t flags)
{
	errmsg[0] = '\0';
	return (struct daxpin_pool_options) {
		.size = sizeof(struct daxpin_pool_options),
		.flags = flags,
		.granularity = header->granularity % 5,
		/* If the lock is held elsewhere, nothing would end a wait for it. */
		.deadline_ns = header->what & IMPATIENT ||
			       machine.locked_elsewhere ? 0 : DAXPIN_NO_DEADLINE,
		.errmsg = errmsg,
		.errmsg_size = sizeof(errmsg),
	};
}

/* ------------------------------------------------------------- good pools */

static struct daxpin_extent keep(struct daxpin_pool *pool, uint64_t blocks,
				 const char *name)
{
	struct daxpin_op op[] = {
		{ .type = DAXPIN_OP_KEEP },
		{ .type = DAXPIN_OP_ROOT, .name = name },
		{ .type = DAXPIN_OP_SET, .value = blocks },
	};

	expect(!daxpin_reserve(pool, blocks * 4096, 0, &op[0].extent),
	       "a good pool cannot be made");
	op[1].extent = op[2].extent = op[0].extent;
	expect(!daxpin_publish(pool, op, name ? 3 : 1, NULL, NULL),
	       "a good pool cannot be made");
	return op[0].extent;
}

static void retire(struct daxpin_pool *pool, struct daxpin_extent extent)
{
	struct daxpin_op op = { .type = DAXPIN_OP_RETIRE, .extent = extent };

	expect(!daxpin_publish(pool, &op, 1,
			       NULL, NULL), "a good pool cannot be made");
}

/* Objects of three classes, of which one is freed and one has a name. */
static void keep_objects(struct daxpin_pool *pool)
{
	static const uint64_t size[] = { 16, 100, 2048, 100 };
	struct daxpin_op op[] = {
		{ .type = DAXPIN_OP_OBJECT_KEEP },
		{ .type = DAXPIN_OP_ROOT, .name = "object" },
	};

	for (uint32_t i = 0; i < 4; i++) {
		expect(!daxpin_object_reserve(pool, size[i], 0, &op[0].extent.addr),
		       "an object");
		op[1].extent = op[0].extent;
		expect(!daxpin_publish(pool, op, i == 1 ? 2 : 1, NULL, NULL),
		       "an object");
	}
	op[0].type = DAXPIN_OP_OBJECT_FREE;
	expect(!daxpin_publish(pool, op, 1, NULL, NULL), "an object");
}

static struct machine_disk *make_base(uint64_t pool_size, uint64_t grown_size,
				      uint64_t segment_size, bool closed, bool objects)
{
	struct machine_disk *disk = machine_disk_new();
	struct header header = { .granularity = DAXPIN_GRANULARITY_CACHE_LINE };
	struct daxpin_pool_options options = options_for(&header, 0);
	struct daxpin_pool *pool;
	struct daxpin_extent extent;

	options.pool_size = pool_size;
	options.segment_size = segment_size;
	options.max_size = grown_size;
	machine_reset(disk);
	expect(!daxpin_pool_create(MACHINE_POOL, &options, &pool),
	       "create: %s", errmsg);
	for (uint64_t i = 0; i < 5; i++) {
		extent = keep(pool, 1 + i * i * i * i, i == 2 ? "two" : NULL);
		if (i % 2)
			retire(pool, extent);
	}
	if (objects)
		keep_objects(pool);
	keep(pool, objects ? 512 : 7680 - 600, "large");
	if (grown_size)
		expect(!daxpin_pool_grow(pool, grown_size, &options),
		       "grow: %s", errmsg);
	if (!closed)
		machine_disk_save(disk);
	expect(!daxpin_pool_close(pool), "close");
	if (closed)
		machine_disk_save(disk);
	machine_expect_quiet();
	return disk;
}

#define BASES 6

static struct machine_disk *base_disk(uint32_t index)
{
	static struct machine_disk *base[BASES];

	if (!base[0]) {
		base[0] = make_base(32 * MIB, 0, 32 * MIB, true, false);
		base[1] = make_base(64 * MIB, 0, 32 * MIB, true, false);
		/* A short segment that is not the last one. */
		base[2] = make_base(102 * MIB, 103 * MIB, 64 * MIB, true, false);
		base[3] = make_base(32 * MIB, 0, 32 * MIB, false, false);
		base[4] = make_base(1058 * MIB, 0, 1024 * MIB, true, false);
		base[5] = make_base(32 * MIB, 0, 32 * MIB, false, true);
	}
	return base[index % BASES];
}

/* ------------------------------------------------------------------ opening */

/* The errors that daxpin(7) lists for an open or a create. */
static bool is_listed(int error)
{
	static const int listed[] = {
		EBUSY, EINVAL, EIO, EMEDIUMTYPE, ENOENT, ENOSPC, EOPNOTSUPP,
		EPROTONOSUPPORT, EUCLEAN, EEXIST, ENOSYS,
	};

	for (size_t i = 0; i < sizeof(listed) / sizeof(listed[0]); i++)
		if (error == -listed[i])
			return true;
	return false;
}

struct before {
	uint64_t stores;
	uint64_t changes;
	uint64_t fingerprint;
};

/* Comparing all bytes is slow, so only a replay does it (fuzz_thorough). */
static struct before look(void)
{
	return (struct before) {
		machine.stores, machine.changes,
		fuzz_thorough ? machine_fingerprint() : 0,
	};
}

static void expect_untouched(const struct before *before)
{
	struct before now = look();

	expect(now.stores == before->stores, "%llu stores to the medium",
	       (unsigned long long)(now.stores - before->stores));
	expect(now.changes == before->changes, "files were changed");
	expect(now.fingerprint == before->fingerprint, "bytes were changed");
}

static void expect_listed(int error)
{
	expect(is_listed(error), "error %d is not in the manual: %s", error,
	       errmsg);
	expect(strlen(errmsg) > 10, "error %d without a message: \"%s\"",
	       error,
	       errmsg);
	machine_expect_quiet();
}

static bool granularity_fits(const struct header *header)
{
	uint32_t granularity = header->granularity % 5;

	if (granularity > DAXPIN_GRANULARITY_PAGE)
		return false;
	return machine.kind != DP_SOURCE_DISK || !granularity ||
	       granularity == DAXPIN_GRANULARITY_PAGE;
}

struct compare {
	const struct reading *reading;
	uint64_t at;
};

static int compare_one(struct daxpin_pool *pool, struct daxpin_extent extent,
		       uint64_t size, void *arg)
{
	struct compare *compare = arg;
	struct daxpin_extent again;
	struct reader_extent there;

	expect(reader_next(compare->reading, &compare->at, &there),
	       "an extent at 0x%llx that is not on media",
	       (unsigned long long)extent.addr);
	expect(there.addr == extent.addr && there.size == size &&
	       there.gen == (extent.gen & 0xfffffff),
	       "0x%llx, %llu bytes, gen 0x%llx: on media 0x%llx, %llu, 0x%x",
	       (unsigned long long)extent.addr, (unsigned long long)size,
	       (unsigned long long)extent.gen, (unsigned long long)there.addr,
	       (unsigned long long)there.size, there.gen);
	expect(!daxpin_extent_at(pool, extent.addr, &again) &&
	       again.gen == extent.gen, "extent_at another");
	expect(daxpin_idle(pool, extent) == 1, "held after an open");
	return 0;
}

/* If two slots have one name, which no pool written by daxpin has, the first counts. */
static bool is_first(const struct reader_root *root, uint32_t slot)
{
	struct reader_root other;

	for (uint32_t i = 0; i < slot; i++)
		if (reader_root(i, &other) && !strcmp(other.name, root->name))
			return false;
	return true;
}

static int compare_object(struct daxpin_pool *pool, uint64_t addr, uint64_t size,
			  void *arg)
{
	struct compare *compare = arg;
	struct reader_object there;
	struct daxpin_extent extent;

	expect(reader_next_object(compare->reading, &compare->at, &there),
	       "an object at 0x%llx that is not on media", (unsigned long long)addr);
	expect(there.addr == addr && there.size == size,
	       "an object at 0x%llx, %llu bytes: on media 0x%llx, %llu",
	       (unsigned long long)addr, (unsigned long long)size,
	       (unsigned long long)there.addr, (unsigned long long)there.size);
	expect(daxpin_extent_at(pool, addr & ~4095ull, &extent), "an extent of a slab");
	return 0;
}

static bool is_object(const struct reading *reading, uint64_t addr)
{
	struct reader_object object;
	uint64_t at = 0;

	while (reader_next_object(reading, &at, &object))
		if (object.addr == addr)
			return true;
	return false;
}

static void compare_object_root(struct daxpin_pool *pool, const struct reading *reading,
				const struct reader_root *root)
{
	struct daxpin_extent named;
	int ret = daxpin_root(pool, root->name, &named);

	expect(ret == (is_object(reading, root->addr) ? 0 : -ESTALE), "root %s: %d",
	       root->name, ret);
	expect(ret || (named.addr == root->addr && !named.gen), "the root of another");
}

static void compare_roots(struct daxpin_pool *pool, const struct reading *reading)
{
	struct daxpin_extent extent, named;
	struct reader_root root;
	bool there;
	int ret;

	for (uint32_t i = 0; i < DP_ROOTS; i++) {
		if (!reader_root(i, &root) || !is_first(&root, i))
			continue;
		if (root.object) {
			compare_object_root(pool, reading, &root);
			continue;
		}
		there = !daxpin_extent_at(pool, root.addr, &extent) &&
			(extent.gen & 0x7fff) == root.gen;
		ret = daxpin_root(pool, root.name, &named);
		expect(ret == (there ? 0 : -ESTALE), "root %s: %d", root.name,
		       ret);
		expect(ret || (named.addr == extent.addr &&
			       named.gen == extent.gen), "the root of another extent");
	}
}

static void compare(struct daxpin_pool *pool, const struct reading *reading)
{
	struct compare compare = { reading, 0 };
	struct reader_extent more;
	struct reader_object object;

	expect(!daxpin_foreach(pool, compare_one, &compare), "foreach");
	expect(!reader_next(reading, &compare.at, &more),
	       "the extent at 0x%llx on media is lost",
	       (unsigned long long)more.addr);
	compare.at = 0;
	expect(!daxpin_foreach_object(pool, compare_object, &compare), "objects");
	expect(!reader_next_object(reading, &compare.at, &object),
	       "the object at 0x%llx on media is lost",
	       (unsigned long long)object.addr);
	compare_roots(pool, reading);
}

/* The medium has the new epoch and this owner (D11, D15), and no lane is open. */
static void check_ours(const struct daxpin_pool_info *info)
{
	struct reading now;

	reader_read(0, &now);
	expect(!now.refuse, "after an open: %s", now.refuse);
	expect(now.super.epoch == info->epoch && now.unclean && !now.lost,
	       "epoch %llu, on media %llu", (unsigned long long)info->epoch,
	       (unsigned long long)now.super.epoch);
	expect(!now.entries, "a lane is still open");
}

static void check_info(struct daxpin_pool *pool, const struct reading *reading,
		       bool readonly)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };

	expect(!daxpin_pool_info(pool, &info), "info");
	expect(info.epoch == (readonly ? reading->super.epoch :
			      reading->highest + 1), "epoch %llu after %llu",
	       (unsigned long long)info.epoch,
	       (unsigned long long)reading->super.epoch);
	expect(info.segments == reading->super.segments &&
	       info.media_bytes == reading->super.pool_size &&
	       !memcmp(info.uuid, reading->super.uuid, 16), "another pool");
	expect(!info.unclean == !reading->unclean, "unclean");
	expect(info.free_bytes + info.hole_bytes <= info.usable_bytes &&
	       !info.quarantined_bytes, "more bytes are free than usable, or some are quarantined");
	if (readonly)
		return;
	reader_expect_set(reading);
	check_ours(&info);
}

static uint32_t reader_how(const struct header *header, bool readonly)
{
	return (readonly ? READER_READONLY : 0) |
	       (header->what & IMPATIENT ? READER_IMPATIENT : 0) |
	       (header->what & ADOPT ? READER_ADOPT : 0);
}

static struct daxpin_pool *try_open(const struct header *header, uint32_t flags)
{
	uint32_t adopt = header->what & ADOPT ? DAXPIN_POOL_ADOPT : 0;
	struct daxpin_pool_options options = options_for(header, flags | adopt);
	struct before before = look();
	struct daxpin_pool *pool = NULL;
	int ret = daxpin_pool_open(MACHINE_POOL, &options, &pool);

	fuzz_log("open%s%s: %d %s",
		 flags & DAXPIN_POOL_READONLY ? " readonly" : "",
		 flags & DAXPIN_POOL_DEGRADED ? " degraded" : "", ret, errmsg);
	expect(!pool == !!ret, "error %d, pool %p", ret, (void *)pool);
	if (ret)
		expect_listed(ret);
	if (ret || flags & DAXPIN_POOL_READONLY)
		expect_untouched(&before);
	/*
	 * dp_invariants() is slow, and an open for reading skips most of what it tests.
	 */
	if (!ret && flags != DAXPIN_POOL_READONLY)
		dp_invariants(pool);
	return pool;
}

/* Returns NULL if the pool was refused and the reader refuses it too. */
static struct daxpin_pool *open_it(const struct header *header, bool readonly)
{
	struct daxpin_pool *pool;
	struct reading reading;

	reader_read(reader_how(header, readonly), &reading);
	if (!granularity_fits(header))
		reading.refuse = "granularity";
	fuzz_log("the reader: %s", reading.refuse ? reading.refuse : "opens");
	pool = try_open(header, readonly ? DAXPIN_POOL_READONLY : 0);
	expect(!pool == !!reading.refuse,
	       "open: %s; the second reader: %s", pool ? "0" : errmsg,
	       reading.refuse ? reading.refuse : "it must open");
	if (!pool)
		return NULL;
	compare(pool, &reading);
	check_info(pool, &reading, readonly);
	return pool;
}

/*
 * A pool without damage must open with DAXPIN_POOL_DEGRADED as well, with all contents.
 */
static struct daxpin_pool *open_around(const struct header *header,
				       bool readonly)
{
	uint32_t flags = DAXPIN_POOL_DEGRADED |
			 (readonly ? DAXPIN_POOL_READONLY : 0);
	struct daxpin_pool *pool;
	struct reading reading;

	reader_read(reader_how(header, readonly), &reading);
	if (!granularity_fits(header))
		reading.refuse = "granularity";
	pool = try_open(header, flags);
	expect(pool || reading.refuse, "a pool without damage does not open: %s", errmsg);
	if (pool && !reading.refuse) {
		compare(pool, &reading);
		check_info(pool, &reading, readonly);
	}
	return pool;
}

/* -------------------------------------------------------------------- use */

static int take_first(struct daxpin_pool *pool, struct daxpin_extent extent,
		      uint64_t size, void *arg)
{
	(void)pool;
	(void)size;
	*(struct daxpin_extent *)arg = extent;
	return 1;
}

/*
 * The first KEEP in a page of the table that was not in use finds the poison there. If
 * the page bitmap is bad, it depends on the page's bytes whether it was in use.
 */
static int keep_new(struct daxpin_pool *pool, const struct daxpin_op *op,
		    uint64_t segment_size)
{
	uint64_t block = op->extent.addr % segment_size / 4096;
	uint64_t page = format_table_offset(segment_size) + block / 512 * 4096;
	uint32_t segment = op->extent.addr / segment_size;
	int ret = daxpin_publish(pool, op, 1, NULL, NULL);

	if (machine_is_poisoned(segment, page, 4096))
		expect(ret == -EIO, "KEEP in a page that is bad");
	else if (ret != -EIO || (!machine_is_poisoned(segment, 0x2000, 4096) &&
				 !machine_is_bad(segment, 0x2000, 4096)))
		expect(!ret, "KEEP");
	return ret;
}

/* The addresses of the extents and objects that were kept after the open. */
static uint64_t kept[2 * WORK_MAX];
static uint32_t keeps;

static bool is_kept(uint64_t addr)
{
	for (uint32_t i = 0; i < keeps; i++)
		if (kept[i] == addr)
			return true;
	return false;
}

/* D14. A root on the medium would lead to it in a later open. */
static void expect_unnamed(struct daxpin_pool *pool)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };
	struct reader_root root;

	expect(!daxpin_pool_info(pool, &info), "info");
	for (uint32_t i = 0; i < DP_ROOTS; i++)
		expect(!reader_root_on_media(i, &root) || !is_kept(root.addr) ||
		       !reader_root_is_intact(info.uuid, i),
		       "root %u names what was kept after it", i);
}

static void use_new(struct daxpin_pool *pool, uint8_t how)
{
	static const uint64_t blocks[] = { 1, 2, 63, 512, 513, 3000, 7680, 15872 };
	struct daxpin_pool_info info = { .size = sizeof(info) };
	struct daxpin_op op = { .type = DAXPIN_OP_KEEP };
	int ret = daxpin_reserve(pool, blocks[how & 7] * 4096, 0, &op.extent);

	expect(!daxpin_pool_info(pool, &info), "info");
	expect(!ret || ret == -EFBIG ||
	       ret == -ENOSPC,
	       "reserve: %d, with %" PRIu64 " bytes of holes", ret,
	       info.hole_bytes);
	if (ret)
		return;
	expect(!daxpin_hold(pool, op.extent, DAXPIN_HOLD_READ), "hold");
	if (!(how & 8) || keep_new(pool, &op, info.segment_size))
		expect(!daxpin_cancel(pool, op.extent), "cancel");
	else
		kept[keeps++] = op.extent.addr;
	expect(!daxpin_drop(pool, op.extent), "drop");
}

/* Reads the medium of the open pool, because a degraded open also opens a pool that the
 * reader has refused. */
static bool has_root(struct daxpin_extent extent)
{
	struct reader_root root;

	for (uint32_t i = 0; i < DP_ROOTS; i++)
		if (reader_root_on_media(i, &root) && root.addr == extent.addr &&
		    !root.object && root.gen == (extent.gen & 0x7fff))
			return true;
	return false;
}

static void use_old(struct daxpin_pool *pool, bool retire_it, bool degraded)
{
	struct daxpin_op op = { .type = DAXPIN_OP_RETIRE };
	int want, ret;

	if (!daxpin_foreach(pool, take_first, &op.extent))
		return;
	expect(!daxpin_hold(pool, op.extent, DAXPIN_HOLD_WRITE), "hold");
	want = has_root(op.extent) ? -EBUSY : 0;
	ret = retire_it ? daxpin_publish(pool, &op, 1, NULL, NULL) : want;
	/* A degraded open may have left out the root. */
	expect(ret == want || (!ret && degraded), "RETIRE: %d", ret);
	want = ret;
	expect(!daxpin_drop(pool, op.extent), "drop");
	want = retire_it && !want ? -ESTALE : 0;
	expect(daxpin_hold(pool, op.extent, DAXPIN_HOLD_READ) == want,
	       "hold: not %d", want);
	if (!want)
		expect(!daxpin_drop(pool, op.extent), "drop");
}

static bool is_bad_at(uint64_t addr, uint64_t segment_size)
{
	return machine.kind != DP_SOURCE_SHMEM &&
	       machine_is_bad(addr / segment_size, addr % segment_size, 8);
}

/* Blocks that a read found bad while the pool was open. */
static uint64_t found[WORK_MAX];
static uint32_t founds;

static bool is_found(uint64_t addr)
{
	for (uint32_t i = 0; i < founds; i++)
		if (found[i] == addr / 4096)
			return true;
	return false;
}

/* Access to a known bad block returns an error and never touches the block. */
static void use_word(struct daxpin_pool *pool, uint8_t how)
{
	struct daxpin_op op = { .type = DAXPIN_OP_SET, .value = how };
	struct daxpin_pool_info info = { .size = sizeof(info) };
	uint64_t size, value;
	int want;

	if (!daxpin_foreach(pool, take_first, &op.extent))
		return;
	op.offset = (how & 15) * 4096 + 8;
	expect(!daxpin_size(pool, op.extent, &size) &&
	       !daxpin_pool_info(pool, &info), "size");
	want = op.offset >= size ? -EINVAL :
	       is_bad_at(op.extent.addr + op.offset, info.segment_size) ||
	       is_found(op.extent.addr + op.offset) ? -EIO : 0;
	expect(daxpin_publish(pool, &op, 1,
			      NULL, NULL) == want, "SET: not %d", want);
	expect(daxpin_persist(pool, op.extent, op.offset, 8) == want,
	       "persist: not %d", want);
	if (!want)
		want = machine_is_poisoned(op.extent.addr / info.segment_size,
					   (op.extent.addr + op.offset) %
					   info.segment_size, 8) ? -EIO : 0;
	expect(daxpin_read(pool, op.extent, op.offset, 8, &value) == want,
	       "read: not %d", want);
	expect(want || value == op.value, "another value");
	if (want == -EIO)
		found[founds++] = (op.extent.addr + op.offset) / 4096;
}

static int take_object(struct daxpin_pool *pool, uint64_t addr, uint64_t size,
		       void *arg)
{
	(void)pool;
	(void)size;
	*(uint64_t *)arg = addr;
	return 1;
}

/* Frees the first object, if that is possible, and keeps another. */
static void use_object(struct daxpin_pool *pool, uint8_t how)
{
	struct daxpin_op op = { .type = DAXPIN_OP_OBJECT_FREE };
	uint64_t old = 0, size;
	int ret;

	if (daxpin_foreach_object(pool, take_object, &old)) {
		op.extent.addr = old;
		ret = daxpin_publish(pool, &op, 1, NULL, NULL);
		expect(!ret || ret == -EBUSY, "OBJECT_FREE: %d", ret);
		ret = daxpin_object_size(pool, old, &size);
		expect(!ret || ret == -ESTALE || ret == -EINVAL, "size: %d", ret);
	}
	ret = daxpin_object_reserve(pool, 1 + how % 32 * 66, 0, &op.extent.addr);
	expect(!ret || ret == -ENOSPC || ret == -EIO, "reserve of an object: %d", ret);
	if (ret)
		return;
	op.type = DAXPIN_OP_OBJECT_KEEP;
	expect(!daxpin_publish(pool, &op, 1, NULL, NULL), "OBJECT_KEEP");
	expect(!daxpin_object_size(pool, op.extent.addr, &size), "size");
	expect(size >= 1u + how % 32 * 66, "a smaller object");
	kept[keeps++] = op.extent.addr;
}

static void use(struct daxpin_pool *pool, const struct header *header)
{
	founds = 0;
	keeps = 0;
	for (uint32_t i = 0; i < WORK_MAX && header->work[i]; i++) {
		if (header->what & DO_OBJECTS)
			use_object(pool, header->work[i]);
		if (header->work[i] & 32)
			use_word(pool, header->work[i]);
		else if (header->work[i] & 16)
			use_old(pool, header->work[i] & 8,
				header->what & DO_DEGRADED);
		else
			use_new(pool, header->work[i]);
	}
	expect_unnamed(pool);
}

static void use_readonly(struct daxpin_pool *pool)
{
	struct daxpin_op op = { .type = DAXPIN_OP_RETIRE };
	struct before before = look();

	expect(daxpin_reserve(pool, 4096, 0, &op.extent) == -EROFS, "reserve");
	if (daxpin_foreach(pool, take_first, &op.extent)) {
		expect(daxpin_publish(pool, &op, 1,
				      NULL, NULL) == -EROFS, "RETIRE");
		expect(daxpin_hold(pool, op.extent, DAXPIN_HOLD_WRITE) ==
		       -EROFS, "a write hold");
		expect(!daxpin_hold(pool, op.extent, DAXPIN_HOLD_READ), "hold");
		expect(!daxpin_drop(pool, op.extent), "drop");
	}
	expect(!daxpin_pool_close(pool), "close");
	expect_untouched(&before);
	machine_expect_quiet();
}

/* ----------------------------------------------------------------- create */

static void create(const struct header *header)
{
	bool overwrite = header->what & DO_OVERWRITE;
	struct daxpin_pool_options options =
		options_for(header, overwrite ? DAXPIN_POOL_OVERWRITE : 0);
	struct daxpin_pool *pool = NULL;
	struct before before = look();
	struct reading reading;
	int ret;

	options.pool_size = options.segment_size = 32 * MIB;
	ret = daxpin_pool_create(MACHINE_POOL, &options, &pool);
	fuzz_log("create%s: %d %s", overwrite ? " over it" : "", ret, errmsg);
	if (ret) {
		expect_listed(ret);
		/*
		 * Files may have been created and removed again. Once it is decided to
		 * destroy the old contents, the medium may still fail.
		 */
		expect(machine.stores == before.stores ||
		       ret == -EIO, "stores by a create that fails: %d", ret);
		return;
	}
	dp_invariants(pool);
	expect(!daxpin_foreach(pool, take_first, &(struct daxpin_extent) { 0 }),
	       "an extent in a new pool");
	expect(!daxpin_pool_close(pool), "close");
	machine.poisons = 0;
	reader_read(READER_READONLY, &reading);
	expect(!reading.refuse || machine_inode(0)->shared,
	       "a new pool: %s", reading.refuse);
}

static int on_finding(const struct daxpin_finding *finding, void *arg)
{
	expect(strlen(finding->what) > 10, "a finding without a message");
	*(uint32_t *)arg += finding->severity == DAXPIN_SEVERITY_DAMAGE;
	return 0;
}

static uint64_t count_objects(const struct reading *reading)
{
	struct reader_object object;
	uint64_t at = 0, count = 0;

	while (reader_next_object(reading, &at, &object))
		count++;
	return count;
}

static uint64_t count_extents(const struct reading *reading)
{
	struct reader_extent extent;
	uint64_t at = 0, count = 0;

	while (reader_next(reading, &at, &extent))
		count++;
	return count;
}

/* A check works on whatever is there and changes nothing. */
static void check(const struct header *header)
{
	struct daxpin_pool_options options = options_for(header, 0);
	struct daxpin_check_summary summary = { .size = sizeof(summary) };
	struct before before = look();
	struct reading reading;
	uint32_t damages = 0;
	int ret;

	reader_read(0, &reading);
	ret = daxpin_check(MACHINE_POOL, &options, on_finding, &damages,
			   &summary);
	fuzz_log("check: %d %s, %u damages", ret, errmsg, damages);
	if (ret)
		expect_listed(ret);
	expect_untouched(&before);
	machine_expect_quiet();
	if (ret)
		return;
	expect(summary.damages == damages, "damages are counted wrongly");
	if (!reading.refuse)
		expect(summary.extents == count_extents(&reading) &&
		       summary.objects == count_objects(&reading),
		       "extents or objects");
}

static void open_and_use(const struct header *header)
{
	bool whole = !(header->what & DO_DEGRADED);
	struct daxpin_pool *(*open)(const struct header *, bool) =
		whole ? open_it : open_around;
	struct daxpin_pool *pool = NULL;

	if (!(header->what & NO_READONLY))
		pool = open(header, true);
	if (pool)
		use_readonly(pool);
	pool = open(header, false);
	if (!pool)
		return;
	use(pool, header);
	expect(!daxpin_pool_close(pool), "close");
	machine_expect_quiet();
	pool = open(header, false);
	expect(pool, "a pool that was closed does not open again");
	expect(!daxpin_pool_close(pool), "close");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct header header = { 0 };
	struct edit edit;

	memcpy(&header, data, dp_min(size, sizeof(header)));
	machine_reset(base_disk(header.base));
	machine.kind = DP_SOURCE_FSDAX + header.kind % 3;
	fuzz_log(" base %u, kind %u, granularity %u, what 0x%x",
		 header.base % BASES, machine.kind, header.granularity % 5,
		 header.what);
	for (size_t at = sizeof(header); at + sizeof(edit) <= size &&
	     at < EDITS_MAX * sizeof(edit); at += sizeof(edit)) {
		memcpy(&edit, data + at, sizeof(edit));
		edit_apply(&edit);
	}
	machine.changes = 0;
	machine.flushes_to_failure = 0;
	if (header.what & DO_CHECK)
		check(&header);
	open_and_use(&header);
	if (header.what & DO_CREATE)
		create(&header);
	machine_expect_quiet();
	return 0;
}
