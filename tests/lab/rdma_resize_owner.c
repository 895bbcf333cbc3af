/* SPDX-License-Identifier: BSD-3-Clause */
/* Of rdma_resize_kill: the owners. */
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include "child.h"
#include "rdma_resize.h"

/* ------------------------------------- connections, and the dead owner's context */

static struct plan plan;
static struct wire wires[PEERS];
static pthread_t server;
static atomic_bool closing;
static struct daxpin_grant *grants[SLOTS];
static struct key *keys[SLOTS];		/* of these grants */

/* A thread of the owner: connects the peers that have asked for it. */
static void *serve(void *arg)
{
	struct mailbox *box;
	uint32_t asked;

	while (!atomic_load(&closing)) {
		for (uint32_t i = 0; i < PEERS; i++) {
			box = &shared->box[i];
			asked = atomic_load(&box->asked);
			if (asked == atomic_load(&box->answered))
				continue;
			box->owner = wire_address(&wires[i]);
			if (wire_connect(&wires[i], &box->peer))
				violation("an owner cannot connect", 0, 0);
			box->by = plan.owner;
			atomic_store(&box->answered, asked);
			sem_post(&box->answer);
		}
		sem_wait(&shared->ask);
	}
	return arg;
}

/* Peers that the dead owner has answered without waking them are woken, too. */
static void start_server(void)
{
	assert_int_equal(pthread_create(&server, NULL, serve, NULL), 0);
	for (uint32_t i = 0; i < PEERS; i++)
		sem_post(&shared->box[i].answer);
}

/*
 * Forks a process that has the verbs context open, but not the pool's lock, until a
 * byte is written to the pipe. So the context outlives the owner and its lock. The test
 * reads its exit status.
 */
static void keep_context(int fd)
{
	char byte;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid) {
		atomic_store(&shared->kept, true);
		return;
	}
	close(context_pipe[1]);
	close(fd);
	_exit(daxpin_pool_close(f->pool) || read(context_pipe[0], &byte, 1) != 1);
}

/* Until each peer has written with a key of the dead owner, or waits for this one. */
static void await_late_writes(void)
{
	uint64_t hang = daxpin_deadline_ms(HANG_MS);
	struct mailbox *box;

	for (box = shared->box; box < shared->box + PEERS; box++) {
		uint64_t enough = atomic_load(&box->late) + LATE;

		while (atomic_load(&box->late) < enough &&
		       atomic_load(&box->asked) == atomic_load(&box->answered)) {
			assert_true(daxpin_deadline_ms(0) < hang);
			usleep(1000);
		}
	}
}

/* As progress() of an open: the lock is free, so its owner is dead. */
static int on_wait(const struct daxpin_wait *wait, void *arg)
{
	(void)arg;
	if (wait->owner != DAXPIN_OWNER_RDMA)
		return 0;
	if (atomic_exchange(&shared->dead, plan.owner - 1) != plan.owner - 1)
		shared->waits++;
	if (!atomic_load(&shared->kept))
		return 0;
	await_late_writes();
	atomic_store(&shared->kept, false);
	assert_int_equal(write(context_pipe[1], "", 1), 1);
	return 0;
}

/* ------------------------------------------------------------ an owner's death */

static timer_t timer;
static struct timespec armed;

static uint64_t armed_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)(now.tv_sec - armed.tv_sec) * 1000000000 +
	       (uint64_t)now.tv_nsec - (uint64_t)armed.tv_nsec;
}

static void make_timer(void)
{
	struct sigevent event = {
		.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL,
	};

	assert_int_equal(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
}

static bool dies_timed(enum phase phase)
{
	return plan.phase == phase && plan.timed;
}

/*
 * The kernel kills the owner within the time that such a call took the last time. Every
 * second owner dies about at the end of it, since the pool's size changes there.
 */
static void arm(enum phase phase)
{
	struct itimerspec value = { .it_value.tv_sec = 0 };
	uint64_t took_ns = shared->took_ns[phase];
	uint64_t ns = took_ns * draw(&plan.seed, 1024) / 1024;

	if (draw(&plan.seed, 2))
		ns = took_ns - took_ns / 16 + ns / 8;
	if (phase != LOAD)
		clock_gettime(CLOCK_MONOTONIC, &armed);
	if (!dies_timed(phase))
		return;
	ns++;			/* 0 would be never */
	value.it_value.tv_sec = (time_t)(ns / 1000000000);
	value.it_value.tv_nsec = (long)(ns % 1000000000);
	atomic_store(&shared->mortal, plan.owner);
	assert_int_equal(timer_settime(timer, 0, &value, NULL), 0);
}

static void enter(enum phase phase)
{
	atomic_store(&shared->phase[plan.owner % 2], phase);
}

/* An owner that should have died in that phase dies soon after. */
static void end(enum phase phase)
{
	static const struct itimerspec never;

	if (armed.tv_sec)
		shared->took_ns[phase] = armed_ns();
	armed.tv_sec = 0;
	enter(LOAD);
	if (plan.phase != phase)
		return;
	assert_int_equal(timer_settime(timer, 0, &never, NULL), 0);
	atomic_store(&shared->mortal, 0);
	plan.phase = LOAD;
	plan.timed = false;
	plan.when = draw(&plan.seed, STEPS);
}

/* If it is the moment that was drawn the owner kills itself, or will be killed. */
static void moment(enum phase phase)
{
	if (plan.last || plan.phase != phase || (plan.timed && phase != LOAD) ||
	    plan.when--)
		return;
	if (plan.timed) {
		arm(LOAD);
		return;
	}
	atomic_store(&shared->mortal, plan.owner);
	kill(getpid(), SIGKILL);
	for (;;)
		pause();
}

/* --------------------------------------------------------- the owner's extents */

static void check(const struct slot *slot)
{
	const void *memory = daxpin_ptr(f->pool, slot->extent, 0);
	uint32_t serial;
	uint64_t at;

	assert_non_null(memory);
	at = writers_find_other(&slot->writers, memory, slot->size, &serial);
	if (at < slot->size)
		violation("bytes of another writer", serial, slot->extent.addr + at);
	shared->checked_bytes += slot->size;
}

static void fill(struct slot *slot)
{
	writers_fill(&slot->writers, daxpin_ptr(f->pool, slot->extent, 0), slot->size,
		     atomic_fetch_add(&shared->last_serial, 1) + 1);
}

static void take(struct slot *slot)
{
	uint64_t size = (1 + draw(&plan.seed, BLOCKS_MAX)) * DAXPIN_BLOCK_SIZE;
	int ret = daxpin_reserve(f->pool, size, 0, &slot->extent);

	if (ret) {
		assert_int_equal(ret, -ENOSPC);
		return;
	}
	slot->size = size;
	fill(slot);
	atomic_store(&slot->state, RESERVED);
}

static void keep(struct slot *slot)
{
	atomic_store(&slot->state, KEEPING);
	assert_int_equal(publish(f, slot->extent, DAXPIN_OP_KEEP), 0);
	atomic_store(&slot->state, KEPT);
}

/* A device may give a number again. What had it before is no longer tried. */
static void publish_key(struct slot *slot, uint32_t serial,
			const struct daxpin_grant_key *of)
{
	uint32_t count = atomic_load(&shared->keys);
	struct key *key = &shared->key[count];

	assert_true(count < KEYS);
	for (uint32_t i = 0; i < count; i++)
		if (shared->key[i].key.rkey == of->rkey)
			atomic_store(&shared->key[i].state, REUSED);
	key->owner = plan.owner;
	key->serial = serial;
	key->key = *of;
	atomic_store(&key->state, LIVE);
	atomic_store(&shared->keys, count + 1);
	keys[slot - shared->slots] = key;
}

static void give(struct slot *slot)
{
	struct daxpin_grant_options options = {
		.size = sizeof(options), .access = WRITE, .label = "peer",
	};
	uint32_t i = (uint32_t)(slot - shared->slots);
	struct daxpin_grant_key key;
	uint32_t serial;

	if (writers_are_full(&slot->writers))
		return;
	serial = atomic_fetch_add(&shared->last_serial, 1) + 1;
	writers_add(&slot->writers, serial);
	atomic_store(&shared->granting, true);
	assert_int_equal(daxpin_rdma_grant(f->rdma, slot->extent, &options, &grants[i]),
			 0);
	daxpin_grant_key(grants[i], &key);
	publish_key(slot, serial, &key);
	atomic_store(&shared->granting, false);
	if (i < STEADY)
		atomic_store(&shared->steady[i], atomic_load(&shared->keys));
	shared->grants++;
}

static void end_grant(struct slot *slot)
{
	uint32_t i = (uint32_t)(slot - shared->slots);

	atomic_store(&keys[i]->state, ENDING);
	assert_int_equal(daxpin_rdma_revoke(grants[i]), 0);
	atomic_store(&keys[i]->state, OLD);
	grants[i] = NULL;
	shared->revokes++;
	if (atomic_load(&slot->state) == ENDED)
		atomic_store(&slot->state, NONE);
	else
		check(slot);
}

/* A grant holds the blocks until it is revoked. */
static void give_up(struct slot *slot)
{
	bool granted = grants[slot - shared->slots];

	check(slot);
	if (atomic_load(&slot->state) == KEPT) {
		atomic_store(&slot->state, RETIRING);
		assert_int_equal(publish(f, slot->extent, DAXPIN_OP_RETIRE), 0);
		shared->retired++;
	} else {
		assert_int_equal(daxpin_cancel(f->pool, slot->extent), 0);
		shared->cancelled++;
	}
	atomic_store(&slot->state, granted ? ENDED : NONE);
}

/* One is kept and one is not, and both are granted until the owner's death. */
static void step_steady(struct slot *slot)
{
	if (atomic_load(&slot->state) == NONE)
		take(slot);
	else if (slot == shared->slots && atomic_load(&slot->state) == RESERVED)
		keep(slot);
	else if (!grants[slot - shared->slots])
		give(slot);
}

static void step(struct slot *slot)
{
	enum slot_state state = atomic_load(&slot->state);
	bool granted = grants[slot - shared->slots];
	unsigned int what = draw(&plan.seed, 8);

	if (slot < shared->slots + STEADY)
		step_steady(slot);
	else if (state == NONE)
		take(slot);
	else if (granted && (state == ENDED || what < 2))
		end_grant(slot);
	else if (!granted && what < 4)
		give(slot);
	else if (what == 4)
		give_up(slot);
	else if (state == RESERVED)
		keep(slot);
	else
		check(slot);
}

static void load(unsigned int steps)
{
	for (uint32_t i = 0; i < 3 * STEADY; i++)
		step_steady(&shared->slots[i % STEADY]);
	while (steps-- && !atomic_load(&shared->violations)) {
		step(&shared->slots[draw(&plan.seed, SLOTS)]);
		moment(LOAD);
	}
}

/*
 * As progress() of a shrink: ends what is in the segments that are removed. After that
 * nothing prevents the removal, so a death at a random moment begins here.
 */
static int leave(struct daxpin_pool *pool, const struct daxpin_shrink_wait *wait,
		 void *arg)
{
	const uint64_t *from = arg;

	(void)pool;
	(void)wait;
	for (uint32_t i = 0; i < SLOTS; i++) {
		struct slot *slot = &shared->slots[i];

		if (atomic_load(&slot->state) == NONE || slot->extent.addr < *from)
			continue;
		moment(SHRINK);
		shared->left++;
		shared->left_granted += grants[i] != NULL;
		if (grants[i])
			end_grant(slot);
		if (atomic_load(&slot->state) != NONE)
			give_up(slot);
	}
	arm(SHRINK);
	return 0;
}

static void grow(void)
{
	uint64_t size = (SEGMENTS + 1) * SEGMENT_BYTES;

	atomic_store(&shared->target, SEGMENTS + 1);
	enter(GROW);
	arm(GROW);
	assert_int_equal(daxpin_pool_grow(f->pool, size, NULL), 0);
	end(GROW);
	atomic_store(&shared->segments, SEGMENTS + 1);
	check_segments(f, SEGMENTS + 1);
	shared->grown++;
}

static void shrink(void)
{
	uint64_t size = SEGMENTS * SEGMENT_BYTES;
	const struct daxpin_shrink_options options = {
		.size = sizeof(options), .deadline_ns = daxpin_deadline_ms(HANG_MS),
		.progress = leave, .progress_arg = &size,
		.errmsg = f->errmsg, .errmsg_size = sizeof(f->errmsg),
	};
	int ret;

	atomic_store(&shared->target, SEGMENTS);
	enter(SHRINK);
	ret = daxpin_pool_shrink(f->pool, size, &options);
	end(SHRINK);
	if (ret)
		fail_msg("%s", f->errmsg);
	atomic_store(&shared->segments, SEGMENTS);
	check_segments(f, SEGMENTS);
	shared->shrunk++;
}

/* -------------------------------------------------- what the dead owner has left */

static bool found[SLOTS];
static uint64_t found_bytes;

static struct slot *slot_of(struct daxpin_extent extent)
{
	for (struct slot *slot = shared->slots; slot < shared->slots + SLOTS; slot++)
		if (atomic_load(&slot->state) != NONE &&
		    slot->extent.addr == extent.addr)
			return slot;
	return NULL;
}

static int find_extent(struct daxpin_pool *pool, struct daxpin_extent extent,
		       uint64_t size, void *arg)
{
	struct slot *slot = slot_of(extent);
	enum slot_state state = slot ? atomic_load(&slot->state) : NONE;

	(void)pool;
	(void)arg;
	found_bytes += size;
	if (state != KEEPING && state != KEPT && state != RETIRING) {
		violation("an extent is there that was not kept", 0, extent.addr);
		return 0;
	}
	assert_int_equal(size, slot->size);
	slot->extent = extent;	/* with the generation of this open */
	check(slot);
	found[slot - shared->slots] = true;
	shared->survived++;
	shared->doubt_found += state != KEPT;
	return 0;
}

/* The owner adopts what is left, with contents that no earlier peer has written. */
static void adopt(struct slot *slot)
{
	enum slot_state state = atomic_load(&slot->state);

	if (found[slot - shared->slots]) {
		atomic_store(&slot->state, KEPT);
		fill(slot);
		return;
	}
	if (state == KEPT)
		violation("an extent is lost", slot->writers.serial[0],
			  slot->extent.addr);
	shared->doubt_gone += state == KEEPING || state == RETIRING;
	atomic_store(&slot->state, NONE);
}

static void compare_size(void)
{
	uint32_t now = pool_info(f).segments;
	uint32_t before = atomic_load(&shared->segments);
	uint32_t target = atomic_load(&shared->target);

	assert_true(now == before || now == target);
	check_segments(f, now);
	shared->grown_by_dead += now > before;
	shared->shrunk_by_dead += now < before;
	atomic_store(&shared->segments, now);
	atomic_store(&shared->target, now);
}

static void compare(void)
{
	struct daxpin_pool_info info;

	compare_size();
	assert_int_equal(daxpin_foreach(f->pool, find_extent, NULL), 0);
	for (struct slot *slot = shared->slots; slot < shared->slots + SLOTS; slot++)
		adopt(slot);
	info = pool_info(f);
	assert_int_equal(info.free_bytes + found_bytes, info.usable_bytes);
	assert_int_equal(info.hole_bytes, 0);
}

static void await_tries(void)
{
	uint64_t hang = daxpin_deadline_ms(HANG_MS);
	struct mailbox *box;

	for (box = shared->box; box < shared->box + PEERS; box++) {
		uint64_t enough = atomic_load(&box->refused) + TRIES;

		while (atomic_load(&box->refused) < enough &&
		       !atomic_load(&shared->violations)) {
			assert_true(daxpin_deadline_ms(0) < hang);
			usleep(1000);
		}
	}
}

/* Fills all free space, and finds it as it was after peers have tried old keys. */
static void no_old_key_works(void)
{
	struct free_space space;
	uint64_t size, wrong;

	free_space_reserve(&space, f->pool);
	for (size_t i = 0; i < space.count; i++) {
		assert_int_equal(daxpin_size(f->pool, space.extents[i], &size), 0);
		pattern_fill(daxpin_ptr(f->pool, space.extents[i], 0), size,
			     OLD_PATTERN);
	}
	if (atomic_load(&shared->keys))
		await_tries();
	for (size_t i = 0; i < space.count; i++) {
		assert_int_equal(daxpin_size(f->pool, space.extents[i], &size), 0);
		wrong = pattern_wrong(daxpin_ptr(f->pool, space.extents[i], 0), size,
				      OLD_PATTERN);
		if (wrong)
			violation("late bytes in free space", 0,
				  space.extents[i].addr);
		shared->checked_bytes += size;
	}
	free_space_release(&space);
	for (uint32_t i = 0; i < SLOTS; i++)
		if (atomic_load(&shared->slots[i].state) != NONE)
			check(&shared->slots[i]);
}

/* --------------------------------------------------------------- an owner's life */

static void open_pool(void)
{
	struct daxpin_pool_options options = {
		.size = sizeof(options), .max_size = (SEGMENTS + 1) * SEGMENT_BYTES,
		.deadline_ns = daxpin_deadline_ms(HANG_MS), .progress = on_wait,
		.errmsg = f->errmsg, .errmsg_size = sizeof(f->errmsg),
	};

	if (daxpin_pool_open(f->path, &options, &f->pool))
		fail_msg("%s", f->errmsg);
	atomic_store(&shared->dead, plan.owner - 1);
	atomic_store(&shared->granting, false);
	/* From here on nothing that an earlier owner has granted may be written. */
	for (uint32_t i = 0; i < atomic_load(&shared->keys); i++)
		if (atomic_load(&shared->key[i].state) != REUSED)
			atomic_store(&shared->key[i].state, OLD);
}

static void make_domain(int fd)
{
	assert_int_equal(nic_open(&f->nic, rdma_device), 0);
	for (uint32_t i = 0; i < PEERS; i++)
		assert_int_equal(wire_open(&wires[i], &f->nic), 0);
	if (attach(f))
		fail_msg("%s", f->errmsg);
	/* Before the thread: the child has none. */
	if (plan.keep)
		keep_context(fd);
	start_server();
}

/* A pool that is large is only made smaller: it cannot grow after that. */
static void live(void)
{
	struct free_space space;
	bool is_small = atomic_load(&shared->segments) == SEGMENTS;

	if (!is_small && plan.phase == GROW)
		plan.phase = SHRINK;
	if (is_small) {
		free_space_reserve_but(&space, f->pool, ROOM_BYTES);
		load(STEPS);
		grow();
	}
	enter(LARGE);
	load(STEPS);
	shrink();
	load(plan.last ? STEPS : UINT32_MAX);
	if (is_small)
		free_space_release(&space);
}

static void end_all(void)
{
	for (uint32_t i = 0; i < SLOTS; i++) {
		if (grants[i])
			end_grant(&shared->slots[i]);
		if (atomic_load(&shared->slots[i].state) != NONE)
			give_up(&shared->slots[i]);
	}
	assert_int_equal(rdma_info(f).grants, 0);
	assert_int_equal(rdma_info(f).quarantined, 0);
	assert_int_equal(pool_info(f).free_bytes, pool_info(f).usable_bytes);
	atomic_store(&closing, true);
	sem_post(&shared->ask);
	assert_int_equal(pthread_join(server, NULL), 0);
	assert_int_equal(daxpin_rdma_detach(f->rdma), 0);
	assert_int_equal(daxpin_pool_close(f->pool), 0);
}

int resize_owner(void *arg, int fd)
{
	plan = *(const struct plan *)arg;
	open_pool();
	make_domain(fd);
	make_timer();
	enter(LOAD);
	compare();
	if (!send_step(fd))
		return 1;
	no_old_key_works();
	if (!atomic_load(&shared->violations))
		live();
	if (atomic_load(&shared->violations))
		return 2;
	end_all();
	return 0;
}
