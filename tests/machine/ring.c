/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The two queues of each ring, in memory that the library maps, and the calls on them.
 * request.c handles the requests.
 */
#include <errno.h>
#include <sys/mman.h>
#include "expect.h"
#include "handle.h"
#include "machine.h"
#include "os/os.h"
#include "request.h"

#define RINGS		4u

/* Offsets of the ring's words in the region that both queues share. */
#define SQ_HEAD		0u
#define SQ_TAIL		64u
#define SQ_FLAGS	128u
#define CQ_HEAD		192u
#define CQ_TAIL		256u
#define SQ_ARRAY	320u

struct ring {
	bool open;
	bool polled;
	uint32_t entries;
	char *memory;
	struct io_uring_sqe *sqe;
	int event_fd;
};

static struct ring rings[RINGS];

/* ----------------------------------------------------------------- queues */

static uint32_t *word(const struct ring *ring, uint32_t offset)
{
	return (uint32_t *)(ring->memory + offset);
}

static uint32_t cqes_offset(uint32_t entries)
{
	return dp_round_up(SQ_ARRAY + entries * sizeof(uint32_t), 64);
}

void machine_ring_post(uint32_t index, uint64_t user_data, int result)
{
	const struct ring *ring = &rings[index];
	uint32_t tail = *word(ring, CQ_TAIL);
	struct io_uring_cqe *cqe = (void *)(ring->memory +
					    cqes_offset(ring->entries));

	expect(tail - *word(ring, CQ_HEAD) < 2 * ring->entries,
	       "more completions than the queue has room for");
	cqe[tail % (2 * ring->entries)] = (struct io_uring_cqe) {
		.user_data = user_data, .res = result,
	};
	*word(ring, CQ_TAIL) = tail + 1;
	if (ring->event_fd >= 0)
		dp_os_eventfd_signal(ring->event_fd);
}

/* Takes all submitted requests, chains included. Returns their number. */
static uint32_t take_requests(uint32_t index)
{
	const struct ring *ring = &rings[index];
	uint32_t head = *word(ring, SQ_HEAD), tail = *word(ring, SQ_TAIL);
	uint32_t before = MACHINE_REQUEST_NONE, count = tail - head;

	for (; head != tail; head++) {
		const struct io_uring_sqe *sqe =
			&ring->sqe[head % ring->entries];

		before = machine_request_add(index, sqe, before);
		if (!(sqe->flags & (IOSQE_IO_LINK | IOSQE_IO_HARDLINK)))
			before = MACHINE_REQUEST_NONE;
	}
	*word(ring, SQ_HEAD) = tail;
	return count;
}

void machine_ring_close(uint32_t index)
{
	machine_requests_drop(index);
	rings[index].open = false;
}

void machine_rings_forget(void)
{
	machine_requests_forget();
	memset(rings, 0, sizeof(rings));
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
	/* The kernel thread always sleeps, so that every submit makes a system call. */
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

/* Waits for a completion. The clock advances if nothing else happens. */
static int wait_for_one(const struct ring *ring, uint64_t wait_ns)
{
	uint64_t until_ns = machine.now_ns + wait_ns;

	while (!has_completion(ring)) {
		if (machine.now_ns >= until_ns)
			return -ETIME;
		if (machine_request_is_late() ||
		    !machine_requests_step())
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
