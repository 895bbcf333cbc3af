/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A grant by a memory window costs less than one by a region of its own, but it is safe
 * only if the device keeps a peer inside the window, and no write arrives after the
 * window was freed. Soft-RoCE does not keep a peer inside (rdma.md R4), so this is
 * tested on the device, with the same steps that a grant takes (access.c).
 *
 * Owns the windows that it tries. A window is allocated after its queue pairs and
 * freed before them (rdma.md R6), and before its region, which cannot end while a
 * window is bound to it (rdma.md R7).
 */
#include "rdma/window_probe.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "rdma/mr.h"
#include "rdma/window.h"

#define PAGE		DAXPIN_BLOCK_SIZE
#define PAGES		16u		/* of the region */
#define FROM		PAGE		/* the beginning of a window in it */
#define SPAN		(6 * PAGE)	/* the length of a window */
#define ROUNDS		12u		/* windows freed while writes arrive */
#define SALVO		24u		/* writes to each */

static_assert(DP_LOOPBACK_BYTES <= SPAN, "a write fits the window");
static_assert(SALVO <= DP_LOOPBACK_DEPTH, "all of them can be posted");

struct window {
	struct dp_loopback *loopback;
	enum ibv_mw_type type;
	unsigned char *memory;
	struct ibv_mr *mr;
	struct ibv_mw *mw;
	uint32_t rkey;			/* what a peer would be given */
};

/* What was seen. */
enum fence { FENCE_UNTRIED, FENCE_HOLDS, FENCE_LEAKS };

struct facts {
	enum fence range, rights, end;
	unsigned int rounds, late;
};

/* ------------------------------------------------------------ one to be tried */

static int window_probe_bind(struct window *w)
{
	const struct ibv_mw_bind_info info = {
		.mr = w->mr,
		.addr = (uintptr_t)w->memory + FROM,
		.length = SPAN,
		.mw_access_flags = IBV_ACCESS_REMOTE_WRITE,
	};
	int ret;

	if (w->type == IBV_MW_TYPE_1)
		return dp_window_bind_call(w->loopback, w->mw, &info);
	ret = dp_window_bind_request(dp_loopback_far(w->loopback), w->mw, &info, 0);
	return ret ? ret : dp_loopback_far_wait(w->loopback);
}

/* Connect again from reset, and make and bind a new window. */
static int window_probe_open(struct window *w)
{
	int ret;

	assert(!w->mw);
	ret = dp_loopback_connect(w->loopback);
	if (!ret)
		ret = dp_window_make(dp_loopback_pd(w->loopback), w->type, &w->mw);
	if (ret)
		return ret;
	memset(w->memory, 0, PAGES * PAGE);
	memset(dp_loopback_source(w->loopback), 0xa5, DP_LOOPBACK_BYTES);
	ret = window_probe_bind(w);
	w->rkey = w->mw->rkey;
	return ret;
}

static int window_probe_close(struct window *w)
{
	int ret = w->mw ? dp_window_free(w->mw) : 0;

	if (!ret)
		w->mw = NULL;
	return ret;
}

/* --------------------------------------------------------------- the trials */

/*
 * A trial returns 0 and stores a fact. If it could not be made, it returns a positive
 * completion status or -errno. This function writes `length` bytes at `at`, which were
 * 0, and finds out whether any of them has changed.
 */
static int window_probe_write_and_look(struct window *w, uint64_t at,
				       uint32_t length, enum fence *ret_fence)
{
	unsigned char *byte = w->memory + at;
	int status = dp_loopback_write(w->loopback, byte, w->rkey, length);

	if (status < 0)
		return status;
	for (uint32_t i = 0; i < length; i++)
		if (byte[i]) {
			*ret_fence = FENCE_LEAKS;
			return 0;
		}
	/* If the write succeeded and no byte changed, there is no result. */
	if (status)
		*ret_fence = FENCE_HOLDS;
	return 0;
}

/* Called before an access that must be refused. If this permitted write fails, the
 * refusal proves nothing. */
static int window_probe_write_inside(struct window *w)
{
	int status =
		dp_loopback_write(w->loopback, w->memory + FROM, w->rkey, 1);

	if (!status && !w->memory[FROM])
		return -EIO;
	w->memory[FROM] = 0;
	return status;
}

/* Write one byte past the end of the window. */
static int window_probe_try_range(struct window *w, struct facts *facts)
{
	int ret = window_probe_write_inside(w);

	return ret ? ret :
		     window_probe_write_and_look(w, FROM + SPAN, 1,
						 &facts->range);
}

/* Write two bytes across the end of the window. */
static int window_probe_try_edge(struct window *w, struct facts *facts)
{
	enum fence edge = FENCE_UNTRIED;
	int ret = window_probe_write_inside(w);

	if (!ret)
		ret = window_probe_write_and_look(w, FROM + SPAN - 1, 2, &edge);
	/* The byte inside is allowed to arrive; the one outside must not. */
	if (!ret && w->memory[FROM + SPAN])
		facts->range = FENCE_LEAKS;
	return ret;
}

static int window_probe_try_rights(struct window *w, struct facts *facts)
{
	int ret = window_probe_write_inside(w), status;

	if (ret)
		return ret;
	status = dp_loopback_read(w->loopback, w->memory + FROM, w->rkey, 1);
	if (status < 0)
		return status;
	facts->rights = status ? FENCE_HOLDS : FENCE_LEAKS;
	return 0;
}

static int window_probe_try_end(struct window *w, struct facts *facts)
{
	int ret = window_probe_write_inside(w);

	if (!ret)
		ret = window_probe_close(w);
	return ret ? ret : window_probe_write_and_look(w, FROM, 1, &facts->end);
}

static int window_probe_post_writes(struct window *w)
{
	int ret = 0;

	for (unsigned int i = 0; !ret && i < SALVO; i++)
		ret = dp_loopback_post(w->loopback, w->memory + FROM, w->rkey,
				       i == SALVO - 1);
	while (!ret && !__atomic_load_n(&w->memory[FROM], __ATOMIC_ACQUIRE))
		if (daxpin_deadline_ms(0) >= dp_loopback_deadline(w->loopback))
			ret = -ETIMEDOUT;
	return ret;
}

/*
 * The window is freed while writes arrive. After the device has confirmed it the
 * memory is zeroed: bytes that are not 0 after the last write's completion were late.
 */
static int window_probe_try_late(struct window *w, struct facts *facts)
{
	int ret = window_probe_post_writes(w);

	if (!ret)
		ret = window_probe_close(w);
	if (ret)
		return ret;
	memset(w->memory, 0, PAGES * PAGE);
	ret = dp_loopback_near_wait(w->loopback);
	if (ret < 0)
		return ret;
	facts->rounds++;
	for (uint32_t i = 0; i < PAGES * PAGE; i++)
		if (w->memory[i]) {
			facts->late++;
			break;
		}
	return 0;
}

typedef int trial_fn(struct window *w, struct facts *facts);

static int window_probe_run_one(struct window *w, trial_fn *trial,
				struct facts *facts)
{
	int ret = window_probe_open(w), closed;

	if (!ret)
		ret = trial(w, facts);
	closed = window_probe_close(w);
	return closed ? closed : ret;
}

static int window_probe_run_all(struct window *w, struct facts *facts)
{
	static trial_fn *const trials[] = {
		window_probe_try_range,
		window_probe_try_edge,
		window_probe_try_rights,
		window_probe_try_end,
	};
	int ret = 0;

	for (unsigned int i = 0; !ret && i < sizeof(trials) / sizeof(trials[0]);
	     i++)
		ret = window_probe_run_one(w, trials[i], facts);
	for (unsigned int i = 0; !ret && i < ROUNDS; i++)
		ret = window_probe_run_one(w, window_probe_try_late, facts);
	return ret;
}

/* ---------------------------------------------------------------- the words */

static bool window_probe_is_offered(struct ibv_pd *pd, enum ibv_mw_type type)
{
	const unsigned int type2 = IBV_DEVICE_MEM_WINDOW_TYPE_2A |
				   IBV_DEVICE_MEM_WINDOW_TYPE_2B;
	const unsigned int wanted = type == IBV_MW_TYPE_2 ? type2 :
				    IBV_DEVICE_MEM_WINDOW;
	struct ibv_device_attr attr = { 0 };

	return !ibv_query_device(pd->context, &attr) &&
	       attr.device_cap_flags & wanted;
}

static const char *window_probe_words_for(enum fence fence, const char *holds,
					  const char *leaks)
{
	return fence == FENCE_HOLDS ? holds :
	       fence == FENCE_LEAKS ? leaks : "was not tried";
}

static bool window_probe_is_wrong(const struct facts *facts)
{
	return facts->range == FENCE_LEAKS || facts->rights == FENCE_LEAKS ||
	       facts->end == FENCE_LEAKS || facts->late;
}

static bool window_probe_is_whole(const struct facts *facts)
{
	return facts->range == FENCE_HOLDS && facts->rights == FENCE_HOLDS &&
	       facts->end == FENCE_HOLDS && facts->rounds;
}

static void window_probe_report_facts(const struct facts *facts,
				      struct daxpin_rdma_finding *finding)
{
	finding->verdict = window_probe_is_wrong(facts) ? DAXPIN_RDMA_WRONG :
			   window_probe_is_whole(facts) ? DAXPIN_RDMA_WORKS :
			   DAXPIN_RDMA_UNKNOWN;
	snprintf(finding->what, sizeof(finding->what),
		 "a write past the window, but inside its region, %s; a read that the window does not allow %s; a write after the window was freed %s; bytes arrived late in %u of %u trials that freed a window while writes arrived",
		 window_probe_words_for(facts->range, "was refused", "arrived"),
		 window_probe_words_for(facts->rights, "was refused", "was answered"),
		 window_probe_words_for(facts->end, "was refused", "arrived"),
		 facts->late, facts->rounds);
}

static void window_probe_report_untried(int ret,
					struct daxpin_rdma_finding *finding)
{
	finding->verdict = DAXPIN_RDMA_UNKNOWN;
	snprintf(finding->what, sizeof(finding->what),
		 "not every trial could be made: %s", ret < 0 ? strerror(-ret) :
		 ibv_wc_status_str((enum ibv_wc_status)ret));
}

/* Memory that the device does not release is never unmapped. */
static int window_probe_end_memory(struct window *w)
{
	int ret = w->mw ? -EBUSY : 0;

	if (!ret && w->mr)
		ret = dp_mr_deregister(w->mr);
	return ret ? ret : munmap(w->memory, PAGES * PAGE) ? -errno : 0;
}

int dp_window_probe(struct dp_loopback *loopback, enum ibv_mw_type type,
		  struct daxpin_rdma_finding *ret_finding)
{
	struct window w = { .loopback = loopback, .type = type };
	struct facts facts = { 0 };
	int ret;

	if (!window_probe_is_offered(dp_loopback_pd(loopback), type)) {
		ret_finding->verdict = DAXPIN_RDMA_NONE;
		snprintf(ret_finding->what, sizeof(ret_finding->what),
			 "the device has no windows of this type");
		return 0;
	}
	w.memory = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (w.memory == MAP_FAILED)
		return -errno;
	/* The region has no remote access of its own, so that only a window gives
	 * it. */
	ret = dp_mr_register(dp_loopback_pd(loopback), w.memory, PAGES * PAGE,
			     IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_MW_BIND,
			     &w.mr);
	if (!ret)
		ret = window_probe_run_all(&w, &facts);
	if (ret && !window_probe_is_wrong(&facts))
		window_probe_report_untried(ret, ret_finding);
	else
		window_probe_report_facts(&facts, ret_finding);
	return window_probe_end_memory(&w);
}
