/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * kill [ROUNDS [POOLS]]: kill owners with DMA in flight, reopen immediately.
 * kill unlocked: the same for the files of a removed pool, without the lock.
 *
 * A round has one pool on the device that DAXPIN_TEST_DAX names and POOLS in
 * DAXPIN_TEST_FSDAX. Each has an owner, which reads into it from a disk (0xA5
 * everywhere) that delays its reads until the parent completes them, publishes and
 * retires, and is killed at a random moment. Its successor opens the pool immediately,
 * and checks that it has everything that the journal has, and nothing else; then it
 * fills the free space with a pattern of its own, and checks that again when the reads
 * have arrived. The parent completes them when the successor has to wait, or has
 * filled: no clock decides.
 *
 * The journal is memory that the parent shares with both. It records a change before
 * the publish, and marks it as acknowledged after it. A change without that mark must
 * be in the pool completely, or not at all.
 */
#include "media.h"
#include <daxpin-uring.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include "../support/held_disk.h"

#define INDEXED		64		/* objects that the index extent names */
#define SLOTS		128		/* the indexed objects, and as many others */
#define CHANGES_MAX	4		/* slots that change in one publish */
#define READS		8		/* reads in flight, per owner */
#define BLOCK		4096u
#define OBJECT_BLOCKS	16		/* at most */
#define FROM_DISK	0xa5
#define OURS		0x3c
#define HANG_MS		600000		/* limit of a wait that must end */
#define POOLS_MAX	8
#define POOL_SIZE	(96 * MIB)

struct object {
	uint64_t addr;			/* 0: none */
	uint64_t size;
	uint64_t seed;			/* seed of the payload; 0: read from disk */
};

struct change {
	uint32_t slot;
	struct object after;
};

enum phase { SETTLED, PUBLISHING, ACKNOWLEDGED };

/* One pool's journal, and what its owner and successor report. */
struct journal {
	struct object slot[SLOTS];
	struct change change[CHANGES_MAX];
	uint32_t changes;
	_Atomic uint32_t phase;		/* entries of change[] */
	_Atomic uint32_t reads;		/* reads in flight */
	_Atomic uint64_t end;		/* no read reaches beyond it */
	_Atomic uint64_t published;
	uint64_t index;			/* address of the index extent */
	uint32_t ballast;		/* extents that fill the first segment */
	uint64_t late;			/* bytes that changed after the fill */
	_Atomic uint32_t waited_for;	/* a bit for each daxpin_owner reported */
	_Atomic bool filled;		/* the successor has filled */
	_Atomic bool landed;		/* all reads have landed */
};

enum mode {
	ATTACHED,			/* the lock is in the ring */
	FOREIGN,			/* the ring is not attached to a pool */
	UNPROTECTED,			/* the same, and the pool looks clean */
	REMOVED,			/* ATTACHED, with the files removed */
	REMOVED_FOREIGN,		/* FOREIGN, with the files removed */
};

static bool is_attached(enum mode mode)
{
	return mode == ATTACHED || mode == REMOVED;
}

static bool is_removed(enum mode mode)
{
	return mode == REMOVED || mode == REMOVED_FOREIGN;
}

struct arena {
	struct fixture f;
	struct journal *journal;
	struct held_disk disk;
	bool device;
	bool later;			/* only later segments are read into */
};

static struct arena arenas[POOLS_MAX + 1];
static int arenas_count;
static int rounds = 2, fs_pools = 3;

/* ----------------------------------------------------------------- helpers */

/* For children: if the condition is false, aborts, which the parent reports. */
#define must(condition) do {						\
	if (!(condition)) {						\
		fprintf(stderr, "# %s:%d: %s\n", __func__, __LINE__,	\
			#condition);					\
		abort();						\
	}								\
} while (0)

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

static uint64_t next(uint64_t *random)
{
	return mix(*random += 0x9e3779b97f4a7c15ull);
}

/* ---------------------------------------------------------------- the owner */

struct request {
	struct daxpin_uring_io io;
	struct daxpin_extent extent;
	uint64_t size;
	bool busy;
	bool forgotten;			/* cancelled or retired during the read */
};

struct owner {
	struct arena *arena;
	struct daxpin_pool *pool;
	struct journal *journal;
	struct daxpin_extent index;
	struct daxpin_extent extent[SLOTS];
	struct io_uring ring;
	struct daxpin_uring *uring;	/* NULL: the ring is not attached */
	struct request request[READS];
	int disk;
	uint64_t random;
};

static void fill_payload(struct owner *o, struct daxpin_extent extent,
			 const struct object *object)
{
	uint64_t *word = daxpin_ptr(o->pool, extent, 0);

	must(word);
	for (uint64_t i = 0; i < object->size / 8; i++)
		word[i] = mix(object->seed + i);
}

static struct object take_object(struct owner *o, bool payload,
				 struct daxpin_extent *ret_extent)
{
	struct object object = {
		.size = (1 + next(&o->random) % OBJECT_BLOCKS) * BLOCK,
		.seed = payload ? next(&o->random) | 1 : 0,
	};

	must(!daxpin_reserve(o->pool, object.size, 0, ret_extent));
	object.addr = ret_extent->addr;
	if (payload)
		fill_payload(o, *ret_extent, &object);
	return object;
}

/* Makes a KEEP, a RETIRE and a SET, as needed, of each change in the journal. */
static uint32_t make_ops(struct owner *o, const struct daxpin_extent *extent,
			 struct daxpin_op ops[3 * CHANGES_MAX])
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < o->journal->changes; i++) {
		const struct change *change = &o->journal->change[i];

		if (change->after.addr)
			ops[count++] = (struct daxpin_op) {
				.type = DAXPIN_OP_KEEP, .extent = extent[i],
			};
		if (o->journal->slot[change->slot].addr)
			ops[count++] = (struct daxpin_op) {
				.type = DAXPIN_OP_RETIRE,
				.extent = o->extent[change->slot],
			};
		if (change->slot < INDEXED)
			ops[count++] = (struct daxpin_op) {
				.type = DAXPIN_OP_SET, .extent = o->index,
				.offset = change->slot * 8,
				.value = change->after.addr,
			};
	}
	return count;
}

/* Publishes the changes of journal->change[]. extent[] has the new extents. */
static void publish_changes(struct owner *o, const struct daxpin_extent *extent)
{
	struct journal *j = o->journal;
	struct daxpin_op ops[3 * CHANGES_MAX];
	uint32_t count = make_ops(o, extent, ops);

	atomic_store(&j->phase, PUBLISHING);
	must(!daxpin_publish(o->pool, ops, count, NULL, NULL));
	atomic_store(&j->phase, ACKNOWLEDGED);
	for (uint32_t i = 0; i < j->changes; i++) {
		o->extent[j->change[i].slot] = extent[i];
		j->slot[j->change[i].slot] = j->change[i].after;
	}
	atomic_store(&j->phase, SETTLED);
	atomic_fetch_add(&j->published, 1);
}

static void publish_object(struct owner *o, uint32_t slot, struct object object,
			   struct daxpin_extent extent)
{
	o->journal->change[0] = (struct change) { slot, object };
	o->journal->changes = 1;
	publish_changes(o, &extent);
}

/* Replaces or removes some indexed objects in one publish. */
static void change_some(struct owner *o)
{
	struct daxpin_extent extent[CHANGES_MAX];
	uint32_t first = next(&o->random) % (INDEXED - CHANGES_MAX);
	uint32_t count = 1 + next(&o->random) % CHANGES_MAX;
	struct object object;

	for (uint32_t i = 0; i < count; i++) {
		object = (struct object) { 0 };
		if (next(&o->random) % 4)
			object = take_object(o, true, &extent[i]);
		o->journal->change[i] = (struct change) { first + i, object };
	}
	o->journal->changes = count;
	publish_changes(o, extent);
}

/* Records how far reads can reach. */
static void note_end(struct owner *o, const struct request *r)
{
	uint64_t end = r->extent.addr + r->size;

	if (end > atomic_load(&o->journal->end))
		atomic_store(&o->journal->end, end);
}

static void submit_read(struct owner *o, struct request *r)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&o->ring);

	must(sqe);
	note_end(o, r);
	if (o->uring) {
		must(!daxpin_uring_prep_read(o->uring, &r->io, sqe, o->disk,
					     r->extent, 0, r->size, 0));
	} else {
		must(!daxpin_hold(o->pool, r->extent, DAXPIN_HOLD_WRITE));
		io_uring_prep_read(sqe, o->disk,
				   daxpin_ptr(o->pool, r->extent, 0), r->size,
				   0);
	}
	io_uring_sqe_set_data(sqe, r);
	must(io_uring_submit(&o->ring) == 1);
	r->busy = true;
	atomic_fetch_add(&o->journal->reads, 1);
}

/* Returns the slot of a live object that was read from disk, or SLOTS. */
static uint32_t pick_read_object(struct owner *o)
{
	uint32_t slot = INDEXED + next(&o->random) % (SLOTS - INDEXED);
	const struct object *object = &o->journal->slot[slot];

	return object->addr && !object->seed ? slot : SLOTS;
}

/*
 * Reads into a new extent, which is published when the read has ended, or cancelled
 * before; or into a live object, which is retired meanwhile.
 */
static void begin_read(struct owner *o, struct request *r)
{
	uint32_t slot = pick_read_object(o);

	r->forgotten = next(&o->random) % 3 == 0;
	if (r->forgotten && slot < SLOTS) {
		r->extent = o->extent[slot];
		r->size = o->journal->slot[slot].size;
		submit_read(o, r);
		publish_object(o, slot, (struct object) { 0 }, r->extent);
		return;
	}
	r->size = take_object(o, false, &r->extent).size;
	submit_read(o, r);
	if (r->forgotten)
		must(!daxpin_cancel(o->pool, r->extent));
}

static void end_read(struct owner *o, struct request *r,
		     const struct io_uring_cqe *cqe)
{
	uint32_t slot = INDEXED + next(&o->random) % (SLOTS - INDEXED);

	must(cqe->res == (int)r->size);
	atomic_fetch_sub(&o->journal->reads, 1);
	if (o->uring)
		must(daxpin_uring_done(&r->io, cqe) == 1);
	else
		must(!daxpin_drop(o->pool, r->extent));
	r->busy = false;
	if (!r->forgotten)
		publish_object(o, slot, (struct object) {
			.addr = r->extent.addr, .size = r->size,
		}, r->extent);
}

static void take_completions(struct owner *o)
{
	struct io_uring_cqe *cqe;

	while (!io_uring_peek_cqe(&o->ring, &cqe)) {
		struct io_uring_cqe copy = *cqe;

		io_uring_cqe_seen(&o->ring, cqe);
		end_read(o, io_uring_cqe_get_data(&copy), &copy);
	}
}

static void open_as_owner(struct owner *o, enum mode mode, uint32_t flags)
{
	const char *path = o->arena->f.path;
	struct daxpin_uring_options options = {
		.size = sizeof(options), .flags = flags,
	};

	o->arena->f.options.deadline_ns = daxpin_deadline_ms(HANG_MS);
	must(!daxpin_pool_open(path, &o->arena->f.options, &o->pool));
	must(!daxpin_root(o->pool, "index", &o->index));
	for (uint32_t i = 0; i < SLOTS; i++)
		if (o->journal->slot[i].addr)
			must(!daxpin_extent_at(o->pool, o->journal->slot[i].addr,
					       &o->extent[i]));
	o->disk = held_disk_open(&o->arena->disk);
	must(o->disk >= 0);
	must(!io_uring_queue_init(4 * READS, &o->ring, 0));
	if (is_attached(mode))
		must(!daxpin_uring_attach(o->pool, &o->ring, &options,
					  &o->uring));
}

/* In the child: runs until it is killed. */
static void own(struct arena *arena, enum mode mode, uint32_t flags,
		uint64_t seed)
{
	struct owner *o = calloc(1, sizeof(*o));

	must(o);
	o->arena = arena;
	o->journal = arena->journal;
	o->random = seed;
	open_as_owner(o, mode, flags);
	for (;;) {
		for (int i = 0; i < READS; i++)
			if (!o->request[i].busy)
				begin_read(o, &o->request[i]);
		take_completions(o);
		change_some(o);
	}
}

/* ------------------------------------------------------------ the successor */

struct successor {
	struct fixture *f;
	struct journal *journal;
	uint64_t *index;
	uint32_t live;			/* objects that must be there */
};

static bool payload_is_whole(struct successor *s, const struct object *object,
			     struct daxpin_extent extent)
{
	const uint64_t *word = daxpin_ptr(s->f->pool, extent, 0);
	const uint64_t disk = 0x0101010101010101ull * FROM_DISK;

	for (uint64_t i = 0; i < object->size / 8; i++)
		if (word[i] != (object->seed ? mix(object->seed + i) : disk))
			return false;
	return true;
}

/* Does the pool have this object, and does the index name it? */
static bool slot_is(struct successor *s, uint32_t slot,
		    const struct object *object)
{
	struct daxpin_extent extent;
	uint64_t size;

	if (slot < INDEXED && s->index[slot] != object->addr)
		return false;
	if (!object->addr)
		return true;
	return !daxpin_extent_at(s->f->pool, object->addr, &extent) &&
	       !daxpin_size(s->f->pool, extent, &size) &&
	       size == object->size && payload_is_whole(s, object, extent);
}

/* Finds out whether the interrupted publish happened: all of it, or nothing. */
static void settle(struct successor *s)
{
	struct journal *j = s->journal;
	uint32_t phase = atomic_load(&j->phase), after = 0, before = 0;

	for (uint32_t i = 0; phase != SETTLED && i < j->changes; i++) {
		const struct change *change = &j->change[i];

		after += slot_is(s, change->slot, &change->after);
		if (phase == PUBLISHING)
			before += slot_is(s, change->slot,
					  &j->slot[change->slot]);
	}
	if (phase == PUBLISHING && before == j->changes)
		phase = SETTLED;
	if (phase != SETTLED)
		must(after == j->changes);
	for (uint32_t i = 0; phase != SETTLED && i < j->changes; i++)
		j->slot[j->change[i].slot] = j->change[i].after;
	atomic_store(&j->phase, SETTLED);
}

static int count_extent(struct daxpin_pool *pool, struct daxpin_extent extent,
			uint64_t size, void *arg)
{
	(void)pool;
	(void)extent;
	(void)size;
	++*(uint32_t *)arg;
	return 0;
}

/* Every acknowledged object is there, complete, and no other extent. */
static void verify(struct successor *s)
{
	struct daxpin_extent index;
	uint32_t found = 0;

	must(!daxpin_root(s->f->pool, "index", &index));
	must(index.addr == s->journal->index);
	s->index = daxpin_ptr(s->f->pool, index, 0);
	settle(s);
	s->live = 1 + s->journal->ballast;
	for (uint32_t i = 0; i < SLOTS; i++) {
		must(slot_is(s, i, &s->journal->slot[i]));
		s->live += !!s->journal->slot[i].addr;
	}
	must(!daxpin_foreach(s->f->pool, count_extent, &found));
	must(found == s->live);
}

/* Reserves all free space, for as long as the pool is open. */
static int take_rest(struct daxpin_pool *pool, struct daxpin_extent **ret_extent)
{
	struct daxpin_extent *extent = NULL;
	uint64_t size = DAXPIN_CHUNK_SIZE;
	int count = 0;

	while (size >= BLOCK) {
		extent = realloc(extent, (count + 1) * sizeof(*extent));
		must(extent);
		if (daxpin_reserve(pool, size, 0, &extent[count]))
			size /= 2;
		else
			count++;
	}
	*ret_extent = extent;
	return count;
}

static uint64_t bytes_of(struct successor *s, struct daxpin_extent extent)
{
	uint64_t size;

	must(!daxpin_size(s->f->pool, extent, &size));
	return size;
}

static uint64_t late_bytes(struct successor *s, struct daxpin_extent extent)
{
	const unsigned char *byte = daxpin_ptr(s->f->pool, extent, 0);
	uint64_t size = bytes_of(s, extent), late = 0;

	if (byte[0] == OURS && !memcmp(byte, byte + 1, size - 1))
		return 0;
	for (uint64_t i = 0; i < size; i++)
		late += byte[i] != OURS;
	return late;
}

/* Fills only as far as the dead owner's reads could reach. */
static void fill_and_watch(struct successor *s)
{
	uint64_t end = atomic_load(&s->journal->end);
	struct daxpin_extent *extent;
	int count = take_rest(s->f->pool, &extent);

	for (int i = 0; i < count; i++)
		if (extent[i].addr < end)
			memset(daxpin_ptr(s->f->pool, extent[i], 0), OURS,
			       bytes_of(s, extent[i]));
	atomic_store(&s->journal->filled, true);
	while (!atomic_load(&s->journal->landed))
		usleep(1000);
	for (int i = 0; i < count; i++)
		if (extent[i].addr < end)
			s->journal->late += late_bytes(s, extent[i]);
	free(extent);
}

/* Removes all files and creates a pool with files of the same names. */
static void replace_pool(struct fixture *f)
{
	char path[128];
	int ret;

	for (uint32_t i = 0, count = count_files(f->path); i < count; i++) {
		segment_path(f, i, path);
		must(!unlink(path));
	}
	ret = daxpin_pool_create(f->path, &f->options, &f->pool);
	if (ret)
		fprintf(stderr, "# %s: %d, %s\n", f->path, ret, f->errmsg);
	must(!ret);
}

static void reopen_pool(struct fixture *f)
{
	int ret = daxpin_pool_open(f->path, &f->options, &f->pool);

	if (ret)
		fprintf(stderr, "# %s: %d, %s\n", f->path, ret, f->errmsg);
	must(!ret);
}

static int note_wait(const struct daxpin_wait *wait, void *arg)
{
	struct journal *journal = arg;

	atomic_fetch_or(&journal->waited_for, 1u << wait->owner);
	return 0;
}

/* If !close, leaves the pool unclosed, so that the next open finds that state. */
static void succeed(struct arena *arena, enum mode mode, bool close)
{
	struct successor s = { .f = &arena->f, .journal = arena->journal };
	struct fixture *f = s.f;

	f->options.deadline_ns = daxpin_deadline_ms(HANG_MS);
	f->options.progress = note_wait;
	f->options.progress_arg = s.journal;
	if (is_removed(mode)) {
		atomic_store(&s.journal->end, UINT64_MAX);
		replace_pool(f);
	} else {
		reopen_pool(f);
	}
	if (mode == ATTACHED)
		verify(&s);
	fill_and_watch(&s);
	if (mode == ATTACHED)
		verify(&s);
	if (close)
		must(!daxpin_pool_close(f->pool));
}

/* -------------------------------------------------------------- making a pool */

/* Reserves all free space of the first segment, and publishes it. */
static uint32_t fill_first_segment(struct daxpin_pool *pool)
{
	struct daxpin_segment first;
	struct daxpin_extent *extent;
	int count = take_rest(pool, &extent);
	uint32_t filled = 0;

	assert_int_equal(daxpin_segment(pool, 0, &first), 0);
	for (int i = 0; i < count; i++) {
		struct daxpin_op keep = {
			.type = DAXPIN_OP_KEEP, .extent = extent[i],
		};

		if (extent[i].addr >= first.addr + first.size) {
			assert_int_equal(daxpin_cancel(pool, extent[i]), 0);
			continue;
		}
		assert_int_equal(daxpin_publish(pool, &keep, 1, NULL, NULL), 0);
		filled++;
	}
	free(extent);
	return filled;
}

static int make_index(struct arena *arena)
{
	struct fixture *f = &arena->f;
	struct daxpin_extent index;
	struct daxpin_op ops[2];

	f->options.flags = DAXPIN_POOL_OVERWRITE;
	if (daxpin_pool_create(f->path, &f->options, &f->pool)) {
		print_message("# %s: %s\n", f->path, f->errmsg);
		return -1;
	}
	memset(arena->journal, 0, sizeof(*arena->journal));
	index = reserve(f, INDEXED * 8);
	memset(daxpin_ptr(f->pool, index, 0), 0, INDEXED * 8);
	ops[0] = (struct daxpin_op) {
		.type = DAXPIN_OP_KEEP, .extent = index,
	};
	ops[1] = (struct daxpin_op) {
		.type = DAXPIN_OP_ROOT, .extent = index, .name = "index",
	};
	assert_int_equal(daxpin_publish(f->pool, ops, 2, NULL, NULL), 0);
	arena->journal->index = index.addr;
	if (arena->later)
		arena->journal->ballast = fill_first_segment(f->pool);
	f->options.flags = 0;
	close_pool(f);
	return 0;
}

/* A pool that replaced one of an earlier round has no index. */
static void remake_indices(enum mode mode)
{
	for (int i = 0; i < arenas_count && is_removed(mode); i++)
		assert_int_equal(make_index(&arenas[i]), 0);
}

/* ------------------------------------------------------------------- rounds */

/* Marks the pool as closed, so that the open does not wait for pins. */
static void hide_the_crash(struct arena *arena)
{
	uint32_t segments = read_super(&arena->f, 0).segments;

	for (uint32_t i = 0; i < segments; i++) {
		struct dp_super super = read_super(&arena->f, i);

		super.flags &= ~(DP_SUPER_UNCLEAN | DP_SUPER_OPENING |
				 DP_SUPER_ADOPTING);
		write_super(&arena->f, i, super);
	}
}

struct role {
	struct arena *arena;
	enum mode mode;
	uint32_t flags;			/* the owner's */
	uint64_t seed;			/* the owner's */
	bool close;			/* the successor's */
};

static int run_owner(void *arg, int parent)
{
	const struct role *role = arg;

	(void)parent;
	own(role->arena, role->mode, role->flags, role->seed);
	return 1;
}

static struct child start_owner(struct arena *arena, enum mode mode,
				uint32_t flags, uint64_t seed)
{
	struct role role = {
		.arena = arena, .mode = mode, .flags = flags, .seed = seed,
	};

	arena->journal->late = 0;
	atomic_store(&arena->journal->waited_for, 0);
	atomic_store(&arena->journal->filled, false);
	atomic_store(&arena->journal->landed, false);
	atomic_store(&arena->journal->reads, 0);
	return fork_child(run_owner, &role);
}

/* Waits until the disk holds all reads of a living owner. */
static void await_reads(struct arena *arena, struct child *child)
{
	int status, ms = HANG_MS;

	while (held_disk_reads(&arena->disk) < READS && --ms) {
		assert_false(child_ends_within(child, 0, &status));
		usleep(1000);
	}
	assert_true(ms);
}

/*
 * Kills the owner while its reads are held; or, if `held` is false, between the landing
 * of some reads and the next ones. Reads land several times before.
 */
static void kill_owner(struct arena *arena, struct child *child, bool held,
		       uint64_t *random, uint32_t *reads)
{
	uint32_t landings = next(random) % 4 + !held;

	await_reads(arena, child);
	for (uint32_t i = 0; i < landings; i++) {
		assert_int_equal(held_disk_land(&arena->disk), 0);
		if (held || i + 1 < landings)
			await_reads(arena, child);
	}
	usleep(next(random) % 50000);
	*reads = atomic_load(&arena->journal->reads);
	kill_child(child);
}

static int run_successor(void *arg, int parent)
{
	const struct role *role = arg;

	(void)parent;
	succeed(role->arena, role->mode, role->close);
	return 0;
}

static struct child start_successor(struct arena *arena, enum mode mode,
				    bool close)
{
	struct role role = { .arena = arena, .mode = mode, .close = close };

	if (mode == UNPROTECTED && !arena->device)
		hide_the_crash(arena);
	return fork_child(run_successor, &role);
}

struct tally {
	uint32_t kills;
	uint32_t reads;			/* reads in flight at the kills */
	uint64_t published;
	uint64_t late;
	uint32_t waited_for;
};

/*
 * Lets the reads land when the successor waits for the lock or for pins, has filled, or
 * has failed.
 */
static void release_read(struct arena *arena, const struct child *child)
{
	struct journal *journal = arena->journal;
	siginfo_t info = { .si_pid = 0 };
	int ms = HANG_MS;

	while (!atomic_load(&journal->waited_for) &&
	       !atomic_load(&journal->filled) && !info.si_pid && --ms) {
		usleep(1000);
		assert_int_equal(waitid(P_PID, child->pid, &info,
					WEXITED | WNOHANG | WNOWAIT), 0);
	}
	assert_true(ms);
	assert_int_equal(held_disk_land(&arena->disk), 0);
	atomic_store(&journal->landed, true);
}

static void end_successor(struct arena *arena, struct child *child,
			  struct tally *tally)
{
	release_read(arena, child);
	assert_int_equal(end_child(child), 0);
	tally->kills++;
	tally->late += arena->journal->late;
	tally->waited_for |= atomic_load(&arena->journal->waited_for);
	tally->published += atomic_exchange(&arena->journal->published, 0);
}

/*
 * The owner that is killed first has published the least, so each round begins with
 * another one.
 */
static int in_order(uint64_t seed, int i)
{
	return (seed + i) % arenas_count;
}

/* tally[0]: the device's, tally[1]: the directories'. */
static void run_round(enum mode mode, uint64_t seed, struct tally tally[2])
{
	struct child child[POOLS_MAX + 1];
	uint64_t random = seed;
	uint32_t reads;

	remake_indices(mode);
	for (int i = 0; i < arenas_count; i++)
		child[i] = start_owner(&arenas[i], mode,
				       seed & 1 ? DAXPIN_URING_PLAIN :
						  DAXPIN_URING_EAGER,
				       next(&random));
	for (int n = 0; n < arenas_count; n++) {
		int i = in_order(seed, n);

		kill_owner(&arenas[i], &child[i],
			   !is_attached(mode) || !seed || !((seed + i) % 2),
			   &random, &reads);
		tally[!arenas[i].device].reads += reads;
		child[i] = start_successor(&arenas[i], mode,
					   next(&random) & 1);
	}
	for (int i = 0; i < arenas_count; i++)
		end_successor(&arenas[i], &child[i],
			      &tally[!arenas[i].device]);
}

static void show(const struct tally tally[2])
{
	const char *medium[] = { "device-dax", "fsdax" };

	for (int i = 0; i < 2; i++)
		print_message("# %s: %u kills with %u reads in flight after %llu publishes, %llu bytes late\n",
			      medium[i], tally[i].kills, tally[i].reads,
			      (unsigned long long)tally[i].published,
			      (unsigned long long)tally[i].late);
}

/* -------------------------------------------------------------------- tests */

static void killed_owners_lose_nothing_and_overwrite_nothing(void **state)
{
	struct tally tally[2] = { 0 };

	(void)state;
	for (int i = 0; i < rounds; i++)
		run_round(ATTACHED, i, tally);
	show(tally);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(tally[i].late, 0);
		if (!tally[i].kills)
			continue;
		/* Otherwise nothing was in flight, and the test has shown nothing. */
		assert_true(tally[i].reads > 0);
		assert_true(tally[i].waited_for & 1u << DAXPIN_OWNER_DRAINING);
	}
}

static void need_directories(void)
{
	if (arenas_count)
		return;
	print_message("# skipped: DAXPIN_TEST_FSDAX is not set\n");
	skip();
}

static void reads_into_later_segments_overwrite_nothing_after_a_kill(void **state)
{
	need_directories();
	killed_owners_lose_nothing_and_overwrite_nothing(state);
}

/*
 * The removed files exist until the last read of their owner has landed. A pool in
 * their place has other blocks, and need not wait.
 */
static void reads_of_a_killed_owner_do_not_reach_a_pool_that_replaces_it(void **state)
{
	struct tally tally[2] = { 0 };

	(void)state;
	need_directories();
	for (int i = 0; i < rounds; i++)
		run_round(REMOVED, i, tally);
	show(tally);
	assert_int_equal(tally[1].late, 0);
	assert_true(tally[1].reads > 0);
}

static void on_fsdax_the_barrier_alone_protects_the_pool(void **state)
{
	struct tally tally[2] = { 0 };

	(void)state;
	run_round(FOREIGN, 0, tally);
	show(tally);
	assert_int_equal(tally[1].late, 0);
	if (tally[1].kills)
		assert_true(tally[1].waited_for & 1u << DAXPIN_OWNER_PINNED);
}

/* If no byte is late here, the tests above show nothing. */
static void without_lock_and_barrier_bytes_are_late(void **state)
{
	struct tally tally[2] = { 0 };

	(void)state;
	run_round(UNPROTECTED, 0, tally);
	show(tally);
	for (int i = 0; i < 2; i++)
		assert_true(!tally[i].kills || tally[i].late);
}

/*
 * If no byte is late here, the test above shows nothing. It is for kernels before 6.15:
 * they warn about it, and newer ones wait for pins when a file is removed.
 */
static void without_the_lock_bytes_are_late_in_the_replacing_pool(void **state)
{
	struct tally tally[2] = { 0 };

	(void)state;
	need_directories();
	run_round(REMOVED_FOREIGN, 0, tally);
	show(tally);
	assert_true(tally[1].late);
}

/* ------------------------------------------------------------------- set-up */

static int add_arena(const char *path, bool device, bool later)
{
	struct arena *arena = &arenas[arenas_count++];
	struct fixture *f = &arena->f;

	arena->device = device;
	arena->later = later;
	snprintf(f->path, sizeof(f->path), device ? "%s" :
		 "%s/daxpin-test-XXXXXX", path);
	if (!device && !mkdtemp(f->path))
		return -1;
	f->options = (struct daxpin_pool_options) {
		.size = sizeof(f->options),
		.pool_size = device ? 0 : POOL_SIZE,
		.segment_size = device ? 0 : 32 * MIB,
		.deadline_ns = daxpin_deadline_ms(HANG_MS),
		.errmsg = f->errmsg,
		.errmsg_size = sizeof(f->errmsg),
	};
	arena->journal = mmap(NULL, sizeof(*arena->journal),
			      PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (arena->journal == MAP_FAILED || held_disk_make(&arena->disk))
		return -1;
	return make_index(arena);
}

static int add_directories(int count, bool later)
{
	const char *directory = getenv("DAXPIN_TEST_FSDAX");

	for (int i = 0; directory && i < count; i++)
		if (add_arena(directory, false, later))
			return -1;
	return 0;
}

static int setup(void **state)
{
	const char *device = getenv("DAXPIN_TEST_DAX");

	(void)state;
	arenas_count = 0;
	if (device && add_arena(device, true, false))
		return -1;
	return add_directories(fs_pools, false);
}

/* A device has one file. */
static int setup_later(void **state)
{
	(void)state;
	arenas_count = 0;
	return add_directories(fs_pools, true);
}

/*
 * The files of a removed pool keep their space until the reads of its owner have
 * landed, so each pool needs twice its size. Some is left to the filesystem.
 */
static int setup_removed(void **state)
{
	const char *directory = getenv("DAXPIN_TEST_FSDAX");
	struct statvfs fs;
	uint64_t room;

	(void)state;
	arenas_count = 0;
	if (!directory)
		return 0;
	if (statvfs(directory, &fs))
		return -1;
	room = fs.f_bavail * (uint64_t)fs.f_frsize / (2 * POOL_SIZE + 8 * MIB);
	room = room ? room : 1;
	return add_directories(room < (uint64_t)fs_pools ? (int)room : fs_pools, true);
}

static int teardown(void **state)
{
	int ret = 0;

	(void)state;
	for (int i = 0; i < arenas_count; i++) {
		ret |= held_disk_remove(&arenas[i].disk);
		if (!arenas[i].device)
			nftw(arenas[i].f.path, remove_one, 8,
			     FTW_DEPTH | FTW_PHYS);
		munmap(arenas[i].journal, sizeof(*arenas[i].journal));
	}
	memset(arenas, 0, sizeof(arenas));
	return ret;
}

int main(int argc, char **argv)
{
#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, setup, teardown)
#define ON_LATER(name) \
	cmocka_unit_test_setup_teardown(name, setup_later, teardown)
#define ON_REMOVED(name) \
	cmocka_unit_test_setup_teardown(name, setup_removed, teardown)
	const struct CMUnitTest unlocked[] = {
		ON_REMOVED(without_the_lock_bytes_are_late_in_the_replacing_pool),
	};
	const struct CMUnitTest tests[] = {
		TEST(killed_owners_lose_nothing_and_overwrite_nothing),
		ON_LATER(reads_into_later_segments_overwrite_nothing_after_a_kill),
		ON_REMOVED(
			reads_of_a_killed_owner_do_not_reach_a_pool_that_replaces_it),
		TEST(on_fsdax_the_barrier_alone_protects_the_pool),
		TEST(without_lock_and_barrier_bytes_are_late),
	};

	if (argc == 2 && !strcmp(argv[1], "unlocked"))
		return cmocka_run_group_tests(unlocked, NULL, NULL);
	if (argc > 1)
		rounds = atoi(argv[1]);
	if (argc > 2)
		fs_pools = atoi(argv[2]);
	if (rounds < 1 || fs_pools < 1 || fs_pools > POOLS_MAX) {
		fprintf(stderr, "kill [ROUNDS [POOLS, 1 to %d]]\n",
			POOLS_MAX);
		return 2;
	}
	if (!getenv("DAXPIN_TEST_DISK") ||
	    (!getenv("DAXPIN_TEST_DAX") && !getenv("DAXPIN_TEST_FSDAX"))) {
		printf("DAXPIN_TEST_DISK, and DAXPIN_TEST_DAX or DAXPIN_TEST_FSDAX, must be set\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
