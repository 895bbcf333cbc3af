/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <linux/falloc.h>
#include "expect.h"
#include "handle.h"
#include "machine.h"
#include "os/os.h"
#include "os/ring.h"
#include "request.h"

#define REQUESTS	1024u
#define RESTART		512		/* ERESTARTSYS, which some kernels return */
#define STEPS_MAX	4u		/* steps in one turn: fewer than this */

enum state { FREE, LINKED, RUNNING, DONE };

struct request {
	enum state state;
	uint32_t ring;
	uint32_t after;			/* LINKED: the request before it */
	struct io_uring_sqe sqe;
	int result;
	uint64_t added_ns;
	bool begun;			/* a worker has started it */
	bool asleep;			/* the end of a pin does not wake it */
	bool decided;			/* the next two are set */
	int error;			/* 0, or the error */
	uint32_t error_at;		/* after this number of chunks */
	uint32_t chunks;		/* chunks changed so far */
	uint64_t expires_ns;		/* for a timeout */
};

static struct request requests[REQUESTS];
static uint32_t used;			/* the rest are FREE */
static uint32_t pending;
static uint32_t cancellations;

/* ---------------------------------------------------------------- chance */

static uint64_t random_below(uint64_t limit)
{
	uint64_t *state = &machine.ring.seed;

	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return (*state >> 33) % limit;
}

static bool happens(uint8_t odds)
{
	return odds && random_below(256) < odds;
}

/* The error of a fallocate() that a signal interrupted. */
static int interruption(void)
{
	static const int error[] = { -EINTR, -RESTART };

	return error[random_below(2)];
}

/* --------------------------------------------------------------- requests */

static void finish(struct request *request, int result);
static void cancel(struct request *request);

/*
 * A cancellation is handled immediately, before requests that were submitted after it.
 */
static void start(struct request *request)
{
	const struct io_uring_sqe *sqe = &request->sqe;
	const struct __kernel_timespec *at =
		(const void *)(uintptr_t)sqe->addr;

	request->state = RUNNING;
	if (sqe->opcode == DP_RING_FTRUNCATE && machine.ring.old)
		finish(request, -EINVAL);
	if (sqe->opcode == IORING_OP_ASYNC_CANCEL)
		cancel(request);
	if (sqe->opcode != IORING_OP_TIMEOUT)
		return;
	request->expires_ns = at->tv_sec * 1000000000ull + at->tv_nsec;
	if (!(sqe->timeout_flags & IORING_TIMEOUT_ABS))
		request->expires_ns += machine.now_ns;
}

static struct request *follower(const struct request *request)
{
	for (uint32_t i = 0; i < used; i++)
		if (requests[i].state == LINKED &&
		    requests[i].after == request - requests)
			return &requests[i];
	return NULL;
}

/* A request that fails cancels the rest of its chain, unless it has a hard link. */
static void finish(struct request *request, int result)
{
	bool timed = request->sqe.opcode == IORING_OP_TIMEOUT &&
		     result == -ETIME &&
		     request->sqe.timeout_flags & IORING_TIMEOUT_ETIME_SUCCESS;
	bool goes_on = result >= 0 || timed ||
		       request->sqe.flags & IOSQE_IO_HARDLINK;
	struct request *next = follower(request);

	request->state = DONE;
	request->result = result;
	if (next && goes_on)
		start(next);
	for (; next && !goes_on; next = follower(next)) {
		next->state = DONE;
		next->result = -ECANCELED;
	}
}

static struct request *new_request(void)
{
	for (uint32_t i = 0; i < used; i++)
		if (!requests[i].state)
			return &requests[i];
	expect(used < REQUESTS, "too many requests in flight");
	return &requests[used++];
}

uint32_t machine_request_add(uint32_t ring, const struct io_uring_sqe *sqe,
			     uint32_t after)
{
	struct request *request = new_request();

	*request = (struct request) {
		.ring = ring, .after = after, .sqe = *sqe,
		.added_ns = machine.now_ns,
	};
	if (after == MACHINE_REQUEST_NONE)
		start(request);
	else
		request->state = LINKED;
	pending++;
	return request - requests;
}

/* -------------------------------------------------------------- fallocate */

static bool is_punch(const struct request *request)
{
	return request->sqe.opcode == IORING_OP_FALLOCATE &&
	       request->sqe.len & FALLOC_FL_PUNCH_HOLE;
}

static bool allocates(const struct request *request)
{
	return request->sqe.opcode == IORING_OP_FALLOCATE &&
	       !(request->sqe.len & (FALLOC_FL_PUNCH_HOLE |
				     FALLOC_FL_ZERO_RANGE));
}

static bool is_for_worker(const struct request *request)
{
	return request->sqe.opcode == DP_RING_FTRUNCATE ||
	       request->sqe.opcode == IORING_OP_FALLOCATE;
}

static bool is_past_end(const struct request *request)
{
	uint32_t file = machine_handle_file(request->sqe.fd);

	return request->sqe.off >= machine_inode(file)->size;
}

/*
 * Does it wait for pins before it changes anything? As on ext4, a punch past the end of
 * the file does not, and zeroing there does.
 */
static bool breaks_layout(const struct request *request)
{
	if (request->sqe.opcode != IORING_OP_FALLOCATE)
		return request->sqe.opcode == DP_RING_FTRUNCATE;
	if (machine.ring.allocation_waits && allocates(request))
		return true;
	return request->sqe.len & FALLOC_FL_ZERO_RANGE ||
	       (is_punch(request) && !is_past_end(request));
}

static uint32_t chunks_of(const struct request *request)
{
	return request->sqe.addr >> DP_CHUNK_SHIFT;
}

/* Decides how the request will end if it is not cancelled. */
static void decide(struct request *request)
{
	const struct machine_ring_plan *plan = &machine.ring;
	bool punch = is_punch(request);

	request->decided = true;
	/* A request that changes no chunk can be interrupted only while it waits. */
	if (chunks_of(request) && happens(plan->interrupted))
		request->error = interruption();
	else if (happens(plan->failed))
		request->error = -EIO;
	else if (!punch && happens(plan->full))
		request->error = -ENOSPC;
	/* An interrupted punch has done nothing. */
	if (request->error && chunks_of(request) &&
	    !(punch && request->error != -EIO))
		request->error_at = random_below(chunks_of(request));
}

static void change_chunk(struct request *request)
{
	uint32_t file = machine_handle_file(request->sqe.fd);
	uint32_t chunk = (request->sqe.off >> DP_CHUNK_SHIFT) +
			 request->chunks++;
	int ret = 0;

	if (is_punch(request))
		machine_punch_chunk(file, chunk);
	else
		ret = machine_refill_chunk(file, chunk);
	if (ret)
		finish(request, ret);
}

/* Grows the file, and ends the sharing of its blocks if the mode asks for that. */
static int allocate(const struct request *request)
{
	return dp_os_fallocate(request->sqe.fd, request->sqe.len,
			       request->sqe.off, request->sqe.addr);
}

static void step_fallocate(struct request *request)
{
	if (!request->decided)
		decide(request);
	if (request->error && request->chunks == request->error_at)
		finish(request, request->error);
	else if (request->chunks == chunks_of(request))
		finish(request, allocates(request) ? allocate(request) : 0);
	else
		change_chunk(request);
}

/* ----------------------------------------------------------------- cancel */

static bool is_meant(const struct io_uring_sqe *sqe,
		     const struct request *request)
{
	if (request->state != RUNNING || &request->sqe == sqe)
		return false;
	if (sqe->cancel_flags & IORING_ASYNC_CANCEL_ANY)
		return true;
	if (sqe->cancel_flags & IORING_ASYNC_CANCEL_FD)
		return request->sqe.fd == sqe->fd;
	return request->sqe.user_data == sqe->addr;
}

static bool waits_for_pin(const struct request *request)
{
	return breaks_layout(request) && !request->chunks &&
	       (request->asleep ||
		machine_is_pinned(machine_handle_file(request->sqe.fd)));
}

/*
 * Requests that break the layout can be cancelled only before they start and while they
 * wait for pins.
 */
static bool may_be_interrupted(const struct request *request)
{
	return is_for_worker(request) &&
	       (!request->begun || !breaks_layout(request) ||
		waits_for_pin(request));
}

/*
 * A waiting request that is woken checks the pins again, and continues if there are
 * none.
 */
static void interrupt(struct request *request)
{
	request->asleep = false;
	if (!request->begun)
		finish(request, -ECANCELED);
	else if (!breaks_layout(request) || waits_for_pin(request))
		finish(request, interruption());
}

/* Returns false if the request cannot be cancelled, or the signal was lost. */
static bool end_early(struct request *request)
{
	if (request->sqe.opcode == IORING_OP_TIMEOUT) {
		finish(request, -ECANCELED);
		return true;
	}
	if (happens(machine.ring.lost))
		return false;
	if (!may_be_interrupted(request))
		return false;
	interrupt(request);
	return true;
}

static void cancel(struct request *request)
{
	bool misses = machine.ring.misses_every_second && cancellations++ & 1;
	int count = 0;

	for (uint32_t i = 0; !misses && i < used; i++)
		if (requests[i].ring == request->ring &&
		    is_meant(&request->sqe, &requests[i]))
			count += end_early(&requests[i]);
	finish(request, count ? count : -ENOENT);
}

/* ------------------------------------------------------------------ steps */

static bool has_to_begin(const struct request *request)
{
	return is_for_worker(request) && !request->begun;
}

static void begin(struct request *request)
{
	request->begun = true;
	request->asleep = machine.ring.forgets && waits_for_pin(request);
}

static bool may_begin(const struct request *request)
{
	return machine.now_ns >= machine.ring.busy_until_ns &&
	       machine.now_ns >= request->added_ns +
				 machine.ring.begins_after_ns;
}

static bool can_move(const struct request *request)
{
	switch (request->state) {
	case DONE:
		return true;
	case RUNNING:
		if (request->sqe.opcode == IORING_OP_TIMEOUT)
			return machine.now_ns >= request->expires_ns;
		if (has_to_begin(request))
			return may_begin(request);
		return !waits_for_pin(request) ||
		       happens(machine.ring.interrupted);
	default:
		return false;
	}
}

static void step_running(struct request *request)
{
	if (has_to_begin(request)) {
		begin(request);
		return;
	}
	if (waits_for_pin(request)) {
		interrupt(request);
		return;
	}
	switch (request->sqe.opcode) {
	case IORING_OP_TIMEOUT:
		finish(request, -ETIME);
		break;
	case IORING_OP_FALLOCATE:
		step_fallocate(request);
		break;
	case IORING_OP_FSYNC:
		machine_sync_inode(machine_handle_file(request->sqe.fd));
		finish(request, 0);
		break;
	case DP_RING_FTRUNCATE:
		finish(request, dp_os_truncate(request->sqe.fd,
					       request->sqe.off));
		break;
	case IORING_OP_MADVISE:
		finish(request, 0);
		break;
	default:
		expect(false, "opcode %u", request->sqe.opcode);
	}
}

static void step(struct request *request)
{
	if (request->state == DONE) {
		machine_ring_post(request->ring, request->sqe.user_data,
				  request->result);
		request->state = FREE;
		pending--;
		return;
	}
	if (machine.observer)
		machine.observer->kernel(true);
	step_running(request);
	if (machine.observer)
		machine.observer->kernel(false);
}

/* Advances one of the requests that can advance. Returns false if there is none. */
bool machine_requests_step(void)
{
	uint32_t count = 0, chosen = 0;

	machine_pins_look();
	for (uint32_t i = 0; pending && i < used; i++)
		if (can_move(&requests[i]) && !random_below(++count))
			chosen = i;
	if (count)
		step(&requests[chosen]);
	return count;
}

void machine_ring_turn(void)
{
	uint32_t steps = pending ? random_below(STEPS_MAX) : 0;

	machine_pins_look();
	while (pending && steps-- && !happens(machine.ring.late))
		machine_requests_step();
}

bool machine_may_be_punched(uint32_t file, uint64_t offset, uint64_t size)
{
	for (uint32_t i = 0; pending && i < used; i++) {
		const struct request *request = &requests[i];

		if (request->state == RUNNING && is_punch(request) &&
		    machine_handle_file(request->sqe.fd) == file &&
		    request->sqe.off < offset + size &&
		    offset < request->sqe.off + request->sqe.addr)
			return true;
	}
	return false;
}

void machine_requests_drop(uint32_t ring)
{
	for (uint32_t i = 0; pending && i < used; i++) {
		if (!requests[i].state || requests[i].ring != ring)
			continue;
		requests[i].state = FREE;
		pending--;
	}
}

void machine_requests_forget(void)
{
	memset(requests, 0, used * sizeof(requests[0]));
	used = pending = cancellations = 0;
}

bool machine_request_is_late(void)
{
	return happens(machine.ring.late);
}
