/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <linux/falloc.h>
#include <linux/io_uring.h>
#include <sys/mman.h>
#include "expect.h"
#include "handle.h"
#include "machine.h"
#include "os/os.h"
#include "os/ring.h"
#include "pin.h"
#include "ring.h"
#include "space.h"

#define RINGS		4u
#define REQUESTS	1024u
#define NONE		UINT32_MAX
#define RESTART		512		/* ERESTARTSYS, which some kernels leak */
#define STEPS_MAX	4u		/* in one turn that sleeps */

/* Where its words are in the region that both queues share. */
#define SQ_HEAD		0u
#define SQ_TAIL		64u
#define SQ_FLAGS	128u
#define CQ_HEAD		192u
#define CQ_TAIL		256u
#define SQ_ARRAY	320u

enum state { FREE, LINKED, RUNNING, DONE };

struct request {
	enum state state;
	uint32_t ring;
	uint32_t after;			/* LINKED: the request before it */
	struct io_uring_sqe sqe;
	int result;
	bool decided;			/* its end: */
	int error;			/* 0, or how it ends */
	uint32_t error_at;		/* after so many chunks */
	uint32_t chunks;		/* changed so far */
	uint64_t expires_ns;		/* of a timeout */
};

struct ring {
	bool open;
	bool polled;
	uint32_t entries;
	char *memory;
	struct io_uring_sqe *sqe;
	int event_fd;
};

static struct ring rings[RINGS];
static struct request requests[REQUESTS];
static uint32_t pending;

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

static int interruption(void)
{
	static const int error[] = { -EINTR, -ECANCELED, -RESTART };

	return error[random_below(3)];
}

/* ----------------------------------------------------------------- queues */

static uint32_t *word(const struct ring *ring, uint32_t offset)
{
	return (uint32_t *)(ring->memory + offset);
}

static uint32_t cqes_offset(uint32_t entries)
{
	return dp_round_up(SQ_ARRAY + entries * sizeof(uint32_t), 64);
}

static void post(uint32_t index, const struct request *request)
{
	const struct ring *ring = &rings[index];
	uint32_t tail = *word(ring, CQ_TAIL);
	struct io_uring_cqe *cqe = (void *)(ring->memory +
					    cqes_offset(ring->entries));

	expect(tail - *word(ring, CQ_HEAD) < 2 * ring->entries,
	       "more completions than the queue has room for");
	cqe[tail % (2 * ring->entries)] = (struct io_uring_cqe) {
		.user_data = request->sqe.user_data, .res = request->result,
	};
	*word(ring, CQ_TAIL) = tail + 1;
	if (ring->event_fd >= 0)
		dp_os_eventfd_signal(ring->event_fd);
}

/* --------------------------------------------------------------- requests */

static void start(struct request *request)
{
	const struct io_uring_sqe *sqe = &request->sqe;
	const struct __kernel_timespec *at =
		(const void *)(uintptr_t)sqe->addr;

	request->state = RUNNING;
	if (sqe->opcode != IORING_OP_TIMEOUT)
		return;
	request->expires_ns = at->tv_sec * 1000000000ull + at->tv_nsec;
	if (!(sqe->timeout_flags & IORING_TIMEOUT_ABS))
		request->expires_ns += machine.now_ns;
}

static struct request *follower(const struct request *request)
{
	for (uint32_t i = 0; i < REQUESTS; i++)
		if (requests[i].state == LINKED &&
		    requests[i].after == request - requests)
			return &requests[i];
	return NULL;
}

/* A request that fails ends the rest of its chain, unless linked hard. */
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
	for (uint32_t i = 0; i < REQUESTS; i++)
		if (!requests[i].state)
			return &requests[i];
	expect(false, "too many requests in flight");
	return NULL;
}

/* All that was submitted, chains included. How many. */
static uint32_t take_requests(uint32_t index)
{
	struct ring *ring = &rings[index];
	uint32_t head = *word(ring, SQ_HEAD), tail = *word(ring, SQ_TAIL);
	uint32_t before = NONE, count = tail - head;

	for (; head != tail; head++) {
		struct request *request = new_request();

		*request = (struct request) {
			.ring = index, .after = before,
			.sqe = ring->sqe[head % ring->entries],
		};
		if (before == NONE)
			start(request);
		else
			request->state = LINKED;
		before = request->sqe.flags &
			 (IOSQE_IO_LINK | IOSQE_IO_HARDLINK) ?
			 (uint32_t)(request - requests) : NONE;
		pending++;
	}
	*word(ring, SQ_HEAD) = tail;
	return count;
}

/* -------------------------------------------------------------- fallocate */

static bool is_punch(const struct request *request)
{
	return request->sqe.opcode == IORING_OP_FALLOCATE &&
	       request->sqe.len & FALLOC_FL_PUNCH_HOLE;
}

static bool breaks_layout(const struct request *request)
{
	return request->sqe.opcode == DP_RING_FTRUNCATE || is_punch(request);
}

static uint32_t chunks_of(const struct request *request)
{
	return request->sqe.addr >> DP_CHUNK_SHIFT;
}

/* How it will end, unless it is cancelled. */
static void decide(struct request *request)
{
	const struct machine_ring_plan *plan = &machine.ring;
	bool punch = is_punch(request);

	request->decided = true;
	if (happens(plan->interrupted))
		request->error = interruption();
	else if (happens(plan->failed))
		request->error = -EIO;
	else if (!punch && happens(plan->full))
		request->error = -ENOSPC;
	/* Interrupted, a punch did nothing. */
	if (request->error && !(punch && request->error != -EIO))
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

static void step_fallocate(struct request *request)
{
	if (!request->decided)
		decide(request);
	if (request->error && request->chunks == request->error_at)
		finish(request, request->error);
	else if (request->chunks == chunks_of(request))
		finish(request, 0);
	else
		change_chunk(request);
}

/* ----------------------------------------------------------------- cancel */

static bool is_meant(const struct io_uring_sqe *cancel,
		     const struct request *request)
{
	if (request->state != RUNNING || &request->sqe == cancel)
		return false;
	if (cancel->cancel_flags & IORING_ASYNC_CANCEL_ANY)
		return true;
	if (cancel->cancel_flags & IORING_ASYNC_CANCEL_FD)
		return request->sqe.fd == cancel->fd &&
		       request->sqe.opcode != IORING_OP_ASYNC_CANCEL;
	return request->sqe.user_data == cancel->addr;
}

/* False: it cannot be ended, or the signal was lost. */
static bool end_early(struct request *request)
{
	if (request->sqe.opcode == IORING_OP_TIMEOUT) {
		finish(request, -ECANCELED);
		return true;
	}
	if (happens(machine.ring.lost))
		return false;
	if (is_punch(request) && request->chunks)
		return false;
	if (request->sqe.opcode != IORING_OP_FALLOCATE &&
	    request->sqe.opcode != DP_RING_FTRUNCATE)
		return false;
	finish(request, interruption());
	return true;
}

static void step_cancel(struct request *request)
{
	int count = 0;

	for (uint32_t i = 0; i < REQUESTS; i++)
		if (requests[i].ring == request->ring &&
		    is_meant(&request->sqe, &requests[i]))
			count += end_early(&requests[i]);
	finish(request, count ? count : -ENOENT);
}

/* ------------------------------------------------------------------ steps */

static bool can_move(const struct request *request)
{
	switch (request->state) {
	case DONE:
		return true;
	case RUNNING:
		if (request->sqe.opcode == IORING_OP_TIMEOUT)
			return machine.now_ns >= request->expires_ns;
		return request->chunks || !breaks_layout(request) ||
		       !machine_is_pinned(machine_handle_file(request->sqe.fd));
	default:
		return false;
	}
}

static void step_running(struct request *request)
{
	switch (request->sqe.opcode) {
	case IORING_OP_TIMEOUT:
		finish(request, -ETIME);
		break;
	case IORING_OP_ASYNC_CANCEL:
		step_cancel(request);
		break;
	case IORING_OP_FALLOCATE:
		step_fallocate(request);
		break;
	case IORING_OP_FSYNC:
		machine_sync_inode(machine_handle_file(request->sqe.fd));
		finish(request, 0);
		break;
	case DP_RING_FTRUNCATE:
		finish(request, happens(machine.ring.interrupted) ?
		       interruption() : dp_os_truncate(request->sqe.fd,
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
		post(request->ring, request);
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

/* One of those that can. False: there is none. */
static bool step_any(void)
{
	uint32_t count = 0, chosen = 0;

	machine_pins_look();
	for (uint32_t i = 0; pending && i < REQUESTS; i++)
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
		step_any();
}

uint32_t machine_ring_pending(void)
{
	return pending;
}

bool machine_may_be_punched(uint32_t file, uint64_t offset, uint64_t size)
{
	for (uint32_t i = 0; pending && i < REQUESTS; i++) {
		const struct request *request = &requests[i];

		if (request->state == RUNNING && is_punch(request) &&
		    machine_handle_file(request->sqe.fd) == file &&
		    request->sqe.off < offset + size &&
		    offset < request->sqe.off + request->sqe.addr)
			return true;
	}
	return false;
}

void machine_ring_close(uint32_t index)
{
	for (uint32_t i = 0; pending && i < REQUESTS; i++) {
		if (!requests[i].state || requests[i].ring != index)
			continue;
		requests[i].state = FREE;
		pending--;
	}
	rings[index].open = false;
}

void machine_rings_forget(void)
{
	memset(rings, 0, sizeof(rings));
	memset(requests, 0, sizeof(requests));
	pending = 0;
}

/* --------------------------------------------------------------- os calls */

static uint32_t ring_of(int fd)
{
	expect(machine_handle(fd)->kind == MACHINE_HANDLE_RING, "not a ring");
	return machine_handle(fd)->file;
}

static uint32_t new_ring(void)
{
	for (uint32_t i = 0; i < RINGS; i++)
		if (!rings[i].open)
			return i;
	expect(false, "too many rings");
	return 0;
}

static void fill_params(uint32_t entries, struct io_uring_params *params)
{
	params->sq_entries = entries;
	params->cq_entries = 2 * entries;
	params->features = IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP |
			   IORING_FEAT_EXT_ARG;
	params->sq_off.head = SQ_HEAD;
	params->sq_off.tail = SQ_TAIL;
	params->sq_off.flags = SQ_FLAGS;
	params->sq_off.array = SQ_ARRAY;
	params->cq_off.head = CQ_HEAD;
	params->cq_off.tail = CQ_TAIL;
	params->cq_off.cqes = cqes_offset(entries);
}

int dp_os_ring_setup(uint32_t entries, struct io_uring_params *params)
{
	uint32_t index;

	if (!machine.ring.present)
		return -ENOSYS;
	index = new_ring();
	rings[index] = (struct ring) {
		.open = true, .entries = entries, .event_fd = -1,
		.polled = params->flags & IORING_SETUP_SQPOLL,
	};
	fill_params(entries, params);
	return machine_handle_new(MACHINE_HANDLE_RING, index);
}

int dp_os_ring_map(int fd, uint64_t region, uint64_t size, void **ret_base)
{
	struct ring *ring = &rings[ring_of(fd)];
	int ret = dp_os_map(NULL, size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, ret_base);

	if (ret)
		return ret;
	if (region == IORING_OFF_SQES) {
		ring->sqe = *ret_base;
		return 0;
	}
	ring->memory = *ret_base;
	/* Its thread sleeps always, so that every submit calls us. */
	*word(ring, SQ_FLAGS) = ring->polled ? IORING_SQ_NEED_WAKEUP : 0;
	return 0;
}

int dp_os_ring_register(int fd, uint32_t what, void *with, uint32_t count)
{
	(void)count;
	if (what == IORING_REGISTER_EVENTFD)
		rings[ring_of(fd)].event_fd = *(int *)with;
	return 0;
}

static bool has_completion(const struct ring *ring)
{
	return *word(ring, CQ_HEAD) != *word(ring, CQ_TAIL);
}

/* Until there is a completion; time passes if nothing else happens. */
static int wait_for_one(const struct ring *ring, uint64_t wait_ns)
{
	uint64_t until_ns = machine.now_ns + wait_ns;

	while (!has_completion(ring)) {
		if (machine.now_ns >= until_ns)
			return -ETIME;
		if (happens(machine.ring.late) || !step_any())
			machine.now_ns += dp_min(1000000,
						 until_ns - machine.now_ns);
	}
	return 0;
}

int dp_os_ring_enter(int fd, uint32_t submit, uint32_t flags, uint64_t wait_ns)
{
	uint32_t index = ring_of(fd);
	int taken = submit || flags ? take_requests(index) : 0, ret;

	if (wait_ns) {
		ret = wait_for_one(&rings[index], wait_ns);
		return ret ? ret : taken;
	}
	machine_ring_turn();
	return taken;
}
