/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An owner is killed with a read in flight, and the read continues. The next owner's
 * open waits until the read has landed, so that what it then writes to the same blocks
 * stays.
 *
 * A read from a pipe is cancelled when its process dies. Without a slow disk only the
 * change of owners can be shown.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "narrate.h"
#include "peer.h"
#include "reading.h"
#include "space.h"

#define ROLE_FD		3
#define PIPE_FD		4
#define PATTERN_OWNER	0x55
#define PATTERN_NEW	0x66
#define OPEN_MS		60000
#define START_MS	30000
#define WATCH_MS	500
#define TRIES_UNSAFE	3	/* 19 of 20 tries had late writes (kernel.md K24) */

/* What the owner reports before it is killed. */
struct handover {
	int err;
	uint64_t addr, bytes, begin_ns;
	char errmsg[256];
};

struct demo {
	struct stage *stage;
	struct source source;
	struct handover handover;
	uint64_t killed_ns;
	uint64_t landed;		/* bytes changed before the open */
	double corrupted_ms;		/* ms after the kill */
	struct daxpin_pool *pool;	/* the successor's */
	struct free_space free_space;
};

/* ------------------------------------------------------------- the owner */

static int leave_a_read(const struct stage *stage, struct handover *handover)
{
	static struct reading reading;	/* as long as the process */
	struct source source = { .fd = PIPE_FD, .write_fd = -1, .bytes = 64u << 10 };
	struct daxpin_extent extent;
	struct daxpin_pool *pool;
	int err;

	if (stage->slow)
		source_open(&source, stage);
	pool = open_pool(stage, 5000);
	err = daxpin_reserve(pool, source.bytes, 0, &extent);
	if (err)
		return err;
	pattern_fill(daxpin_ptr(pool, extent, 0), source.bytes, PATTERN_OWNER);
	err = reading_begin(&reading, pool, extent, &source, stage->unsafe,
			    handover->errmsg, sizeof(handover->errmsg));
	handover->addr = extent.addr;
	handover->bytes = source.bytes;
	handover->begin_ns = reading.begin_ns;
	return err;
}

int owner_main(const struct stage *stage)
{
	struct handover handover = { .err = 0 };

	handover.err = leave_a_read(stage, &handover);
	if (send(ROLE_FD, &handover, sizeof(handover), MSG_NOSIGNAL) < 0)
		return 2;
	for (;;)
		pause();
}

/* --------------------------------------------------------- the successor */

static void receive_handover(struct demo *demo, int fd, pid_t pid)
{
	struct pollfd pollfd = { .fd = fd, .events = POLLIN };

	if (poll(&pollfd, 1, START_MS) <= 0 ||
	    recv(fd, &demo->handover, sizeof(demo->handover), 0) !=
	    (ssize_t)sizeof(demo->handover))
		give_up("the owner (process %d) did not start its read within 30 s",
			(int)pid);
	if (demo->handover.err)
		give_up("the owner (process %d): %s (%s)", (int)pid,
			demo->handover.errmsg, strerror(-demo->handover.err));
}

static void kill_an_owner(struct demo *demo)
{
	const struct stage *stage = demo->stage;
	const char *arguments[] = {
		"rdma-pin", "--role", "owner", "--pool", stage->pool_path,
		stage->unsafe ? "--unsafe" : "--safe",
		stage->slow ? "--slow" : NULL, stage->slow, NULL
	};
	pid_t pid;
	int fd;

	pid = start_role(arguments, stage->slow ? -1 : demo->source.fd, &fd);
	receive_handover(demo, fd, pid);
	demo->killed_ns = now_ns();
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(fd);
	fact("pid", (uint64_t)pid);
	fact("in_flight_us", (demo->killed_ns - demo->handover.begin_ns) / 1000);
	fact("reaped_us", (now_ns() - demo->killed_ns) / 1000);
	print_event("kill", "process %d opens the pool, starts a read into 0x%" PRIx64 ", and is killed %.1f ms later; it has exited %.1f ms after that",
		    (int)pid, demo->handover.addr,
		    (double)(demo->killed_ns - demo->handover.begin_ns) / 1e6,
		    ms_since(demo->killed_ns));
}

static void succeed(struct demo *demo)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };

	demo->pool = open_pool(demo->stage, OPEN_MS);
	must(daxpin_pool_info(demo->pool, &info), "daxpin_pool_info");
	fact("after_kill_us", (now_ns() - demo->killed_ns) / 1000);
	fact("after_submit_us", (now_ns() - demo->handover.begin_ns) / 1000);
	claim(info.unclean, "open", "the next owner's open returns %.1f ms after the kill, %.1f ms after the read began, and reports that the pool was not closed",
	      ms_since(demo->killed_ns), ms_since(demo->handover.begin_ns));
}

/* All space is free, since the dead owner had published nothing. */
static void take_the_block(struct demo *demo)
{
	const struct handover *handover = &demo->handover;
	uint64_t overlap;

	free_space_reserve(&demo->free_space, demo->pool);
	overlap = free_space_overlap(&demo->free_space, handover->addr,
				     handover->bytes);
	demo->landed = free_space_wrong(&demo->free_space, handover->addr,
					handover->bytes, PATTERN_OWNER);
	free_space_fill(&demo->free_space, handover->addr, handover->bytes,
			PATTERN_NEW);
	fact("landed_bytes", demo->landed);
	claim(overlap == handover->bytes, "reuse",
	      "it reserves the same %" PRIu64 " bytes, of which the dead owner's read has changed %" PRIu64 ", and fills them",
	      overlap, demo->landed);
	if (demo->stage->slow && !demo->stage->unsafe)
		claim(demo->landed > 0, "landed",
		      "so the read outlived its process, and the open waited for the read");
}

static void watch(struct demo *demo)
{
	uint64_t wrong = 0, begin;
	unsigned int ms = WATCH_MS;

	if (demo->stage->slow)
		ms += (unsigned int)(2 * demo->stage->read_ns / 1000000);
	else
		source_release(&demo->source);
	begin = now_ns();
	while (!wrong && ms_since(begin) < ms) {
		sleep_ms(20);
		wrong = free_space_wrong(&demo->free_space, demo->handover.addr,
					 demo->handover.bytes, PATTERN_NEW);
	}
	demo->corrupted_ms = ms_since(demo->killed_ns);
	fact("watched_us", (now_ns() - begin) / 1000);
	if (!demo->stage->unsafe)
		claim(!wrong, "intact",
		      "after another %.0f ms its bytes are intact: %" PRIu64 " of %" PRIu64,
		      ms_since(begin), demo->handover.bytes - wrong,
		      demo->handover.bytes);
	else if (wrong)
		sleep_ms(WATCH_MS);	/* by then the whole read has landed */
}

static void print_corruption(struct demo *demo)
{
	uint64_t wrong = free_space_wrong(&demo->free_space, demo->handover.addr,
					  demo->handover.bytes, PATTERN_NEW);

	demo->stage->corrupted = wrong;
	fact("corrupted_bytes", wrong);
	if (wrong)
		claim(true, "corrupted",
		      "the dead owner's read lands %.0f ms after the kill: %" PRIu64 " of the next owner's bytes are destroyed, and no call reports an error",
		      demo->corrupted_ms, wrong);
	else
		print_event("unshown", "nothing was destroyed this time: %s",
			    demo->landed ? "the read had landed before the open returned" :
			    "no read landed");
}

static void run_once(struct demo *demo)
{
	kill_an_owner(demo);
	succeed(demo);
	take_the_block(demo);
	watch(demo);
	if (demo->stage->unsafe)
		print_corruption(demo);
	free_space_release(&demo->free_space);
	close_pool(demo->pool);
}

void demo_crash(struct stage *stage)
{
	struct demo demo = { .stage = stage };
	int tries = stage->unsafe && stage->slow ? TRIES_UNSAFE : 1;

	print_section("crash", "the owner of %s is killed with a read in flight%s",
		      stage->pool_path,
		      stage->unsafe ? ", without daxpin's protection" : "");
	source_open(&demo.source, stage);
	if (!stage->slow)
		print_event("pipe", "a read from a pipe is cancelled when its process dies, so this shows only when the next owner gets the pool; --slow DISK shows DMA that outlives its process");
	do
		run_once(&demo);
	while (!stage->corrupted && --tries > 0);
	source_close(&demo.source);
}
