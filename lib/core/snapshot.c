/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Puts snapshots of an open pool together, for its status page (pool/status.c).
 *
 * The library has no threads, and a hold, a drop, a reserve and a publish must not cost
 * more because someone could be looking. So they do not know of the page: a snapshot is
 * written by calls that are not made for each I/O, such as daxpin_pool_info(), if the
 * last one is INTERVAL_NS old. A snapshot of a large pool takes longer; then the next
 * one is not written before SHARE times its duration has passed. Each has the time at
 * which it was written, so a reader knows how old the figures are.
 *
 * A second thread that calls meanwhile does not wait.
 */
#include <errno.h>
#include <stdlib.h>
#include "core/info.h"
#include "core/snapshot.h"
#include "os/os.h"

#define INTERVAL_NS	100000000ull	/* 100 ms */
#define SHARE		100u		/* at most 1 % of the time */

static_assert(DP_STATUS_LABEL == DAXPIN_LABEL_MAX, "a label fits");

/* ------------------------------------------------------------------- figures */

static void snapshot_figures(struct daxpin_pool *pool,
			     struct dp_status_figures *ret_figures)
{
	const struct daxpin_pool_info info = dp_info_now(pool);

	*ret_figures = (struct dp_status_figures) {
		.source = info.source, .granularity = info.granularity,
		.segment_count = info.segments, .flags = info.flags,
		.segment_size = info.segment_size,
		.media_bytes = info.media_bytes,
		.usable_bytes = info.usable_bytes,
		.free_bytes = info.free_bytes,
		.largest_extent = info.largest_extent,
		.hole_bytes = info.hole_bytes,
		.unaligned_chunks = info.unaligned_chunks,
		.ignored_files = info.ignored_files,
		.registrations = info.registrations,
		.unclean = info.unclean,
		.quarantined_bytes = info.quarantined_bytes,
		.bad_bytes = info.bad_bytes, .bad_unknown = info.bad_unknown,
		.shared_bytes = info.shared_bytes,
		.sparse_bytes = info.sparse_bytes,
		.movable = info.movable,
		.dirty_shutdown = info.dirty_shutdown,
		.retired_bytes = info.retired_bytes,
		.deferred_frees = info.deferred_frees,
		.publishes = info.publishes, .no_space = info.no_space,
		.max_bytes = info.max_bytes,
		.slab_bytes = info.slab_bytes, .objects = info.objects,
		.object_bytes = info.object_bytes,
		.partial_slab_bytes = info.partial_slab_bytes,
	};
	pthread_mutex_lock(&pool->media.super_mutex);
	ret_figures->contexts = pool->media.super.owner.contexts;
	pthread_mutex_unlock(&pool->media.super_mutex);
}

/* ------------------------------------------------------------------- holders */

/* The oldest labelled holds, as a heap: holder[0] is the youngest of them. */
struct oldest {
	struct dp_status_holder *holder;
	uint32_t count;
	uint64_t seen;
	uint32_t shift;			/* blocks of a segment */
};

static int snapshot_compare_ages(const void *a, const void *b)
{
	const struct dp_status_holder *one = a, *other = b;

	return (one->since_ns > other->since_ns) - (one->since_ns < other->since_ns);
}

/* Remove the youngest, and find the place for a new entry: younger ones move up. */
static uint32_t snapshot_sift_down(struct oldest *oldest, uint64_t since_ns)
{
	struct dp_status_holder *holder = oldest->holder;
	uint32_t at = 0, child;

	for (; (child = 2 * at + 1) < oldest->count; at = child) {
		if (child + 1 < oldest->count &&
		    holder[child + 1].since_ns > holder[child].since_ns)
			child++;
		if (holder[child].since_ns <= since_ns)
			break;
		holder[at] = holder[child];
	}
	return at;
}

/* The same from a new last entry upwards. */
static uint32_t snapshot_sift_up(struct oldest *oldest, uint64_t since_ns)
{
	struct dp_status_holder *holder = oldest->holder;
	uint32_t at = oldest->count++;

	for (; at && holder[(at - 1) / 2].since_ns < since_ns; at = (at - 1) / 2)
		holder[at] = holder[(at - 1) / 2];
	return at;
}

static void snapshot_set_label(struct dp_status_holder *holder, const char *label)
{
	snprintf(holder->label, sizeof(holder->label), "%s", label);
}

static void snapshot_add_hold(const struct daxpin_hold *hold, void *arg)
{
	struct oldest *oldest = arg;
	struct dp_status_holder *holder;

	oldest->seen++;
	if (oldest->count == DP_STATUS_HOLDERS &&
	    hold->since_ns >= oldest->holder[0].since_ns)
		return;
	holder = &oldest->holder[oldest->count == DP_STATUS_HOLDERS ?
				 snapshot_sift_down(oldest, hold->since_ns) :
				 snapshot_sift_up(oldest, hold->since_ns)];
	*holder = (struct dp_status_holder) {
		.addr = hold->extent.addr, .gen = hold->extent.gen,
		.since_ns = hold->since_ns, .access = hold->access,
		.segment = hold->extent.addr >> DP_BLOCK_SHIFT >> oldest->shift,
	};
	snapshot_set_label(holder, hold->label);
}

static void snapshot_add_registration(const struct daxpin_holder *from, void *arg)
{
	struct dp_status_snapshot *snapshot = arg;
	struct dp_status_holder *holder;

	if (snapshot->holders == 2 * DP_STATUS_HOLDERS)
		return;
	holder = (void *)dp_status_holders(snapshot);
	holder += snapshot->holders++;
	*holder = (struct dp_status_holder) {
		.since_ns = snapshot->written_ns - from->age_ns,
		.access = from->access, .segment = from->segment,
	};
	snapshot_set_label(holder, from->label);
}

static void snapshot_holders(struct daxpin_pool *pool,
			     struct dp_status_snapshot *snapshot)
{
	struct oldest oldest = {
		.holder = (void *)dp_status_holders(snapshot),
		.shift = dp_states_shift(&pool->states),
	};

	dp_labels_each(dp_holders_labels(&pool->holders), 0, UINT64_MAX,
		       snapshot_add_hold, &oldest);
	qsort(oldest.holder, oldest.count, sizeof(*oldest.holder),
	      snapshot_compare_ages);
	snapshot->labelled = oldest.seen;
	snapshot->holders = oldest.count;
	dp_registrations_of(&pool->holders, DAXPIN_ALL_SEGMENTS,
			    snapshot_add_registration, snapshot);
}

/* ------------------------------------------------------------- jobs, segments */

static void snapshot_add_job(const struct daxpin_job *job, uint64_t done_bytes,
			     uint64_t left_bytes, void *arg)
{
	struct dp_status_snapshot *snapshot = arg;
	struct dp_status_job *to = (void *)dp_status_jobs(snapshot);

	snapshot->jobs_total++;
	if (snapshot->jobs == DP_STATUS_JOBS)
		return;
	to[snapshot->jobs++] = (struct dp_status_job) {
		.kind = job->kind, .flags = job->cancelled,
		.parts = job->parts, .open_parts = job->open_parts,
		.done_bytes = done_bytes, .left_bytes = left_bytes,
	};
}

static void snapshot_segments(struct daxpin_pool *pool,
			      struct dp_status_snapshot *snapshot)
{
	struct dp_status_segment *to = (void *)dp_status_segments(snapshot);

	for (uint32_t i = 0; i < snapshot->segments; i++)
		to[i] = (struct dp_status_segment) {
			.blocks = dp_geometry_blocks(&pool->media.geometry, i),
			.free_blocks = dp_bits_free_count(
				dp_spaces_bits(&pool->spaces, i)),
			.held = dp_gate_busy(dp_state_gates(&pool->states), i),
		};
}

/* --------------------------------------------------------------------- cells */

/* The chunks of a cell, by what they are. */
struct cell {
	uint32_t chunks, meta, holes;
	uint32_t free_blocks;
};

static uint8_t snapshot_cell_value(const struct cell *cell)
{
	uint32_t blocks = (cell->chunks - cell->meta - cell->holes) * DP_CHUNK_BLOCKS;
	uint32_t used = blocks - cell->free_blocks;

	if (cell->meta == cell->chunks)
		return DP_STATUS_CELL_META;
	if (!blocks)
		return DP_STATUS_CELL_HOLE;
	return (used * 100 + blocks - 1) / blocks;
}

static void snapshot_add_chunk(struct daxpin_pool *pool, uint32_t segment,
			       uint32_t chunk, struct cell *cell)
{
	const struct dp_geometry *geometry = &pool->media.geometry;

	cell->chunks++;
	if (chunk < dp_geometry_meta_chunks(geometry))
		cell->meta++;
	else if (chunk >= dp_geometry_chunks(geometry, segment) ||
		 !(dp_segment_chunk(&pool->media.segments, segment, chunk) &
		   DP_CHUNK_BACKED))
		cell->holes++;
	else
		cell->free_blocks += dp_bits_count_free(
			dp_spaces_bits(&pool->spaces, segment),
			chunk * DP_CHUNK_BLOCKS, DP_CHUNK_BLOCKS);
}

/* A cell may span segments. Addresses behind a short segment are shown as a hole. The
 * mutex protects the flags of chunks. */
static void snapshot_cells(struct daxpin_pool *pool,
			   struct dp_status_snapshot *snapshot)
{
	uint8_t *to = (void *)dp_status_cells(snapshot);
	struct cell cell = { 0 };

	pthread_mutex_lock(&pool->jobs.mutex);
	for (uint32_t i = 0; i < snapshot->segments; i++) {
		uint32_t chunks = i + 1 < snapshot->segments ?
			pool->media.geometry.segment_size >> DP_CHUNK_SHIFT :
			dp_geometry_chunks(&pool->media.geometry, i);

		for (uint32_t chunk = 0; chunk < chunks; chunk++) {
			snapshot_add_chunk(pool, i, chunk, &cell);
			if (cell.chunks < snapshot->cell_chunks)
				continue;
			*to++ = snapshot_cell_value(&cell);
			cell = (struct cell) { 0 };
		}
	}
	if (cell.chunks)
		*to = snapshot_cell_value(&cell);
	pthread_mutex_unlock(&pool->jobs.mutex);
}

/* ------------------------------------------------------------- the snapshot */

/* The sizes of a snapshot of that many segments. daxpin_pool_grow() can add some. */
static struct dp_status_snapshot snapshot_shape(const struct daxpin_pool *pool,
						uint32_t segments)
{
	const struct dp_geometry *geometry = &pool->media.geometry;
	uint64_t chunks = segments * (geometry->segment_size >> DP_CHUNK_SHIFT);
	uint64_t cell = 1;

	if (segments == geometry->segments)
		chunks = dp_geometry_end(geometry) >> DP_CHUNK_SHIFT;
	while ((chunks + cell - 1) / cell > DP_STATUS_CELLS)
		cell *= 2;
	return (struct dp_status_snapshot) {
		.opened_ns = pool->status_opened_ns,
		.segments = segments,
		.cells = (chunks + cell - 1) / cell,
		.cell_chunks = cell,
	};
}

/* The parts are written in the order of the arrays, since each begins where the one
 * before it ends. */
static void snapshot_fill(struct daxpin_pool *pool,
			  struct dp_status_snapshot *snapshot)
{
	*snapshot = snapshot_shape(pool, pool->media.geometry.segments);
	snapshot->written_ns = dp_os_now_ns();
	snapshot_figures(pool, &snapshot->figures);
	/* The pool can have grown since. */
	snapshot->figures.segment_count = snapshot->segments;
	snapshot_segments(pool, snapshot);
	snapshot_holders(pool, snapshot);
	dp_jobs_each(&pool->jobs, snapshot_add_job, snapshot);
	snapshot_cells(pool, snapshot);
}

static void snapshot_write(struct daxpin_pool *pool)
{
	struct dp_status_snapshot *snapshot = dp_status_next(&pool->status);
	uint64_t took_ns;
	int ret;

	if (!snapshot)
		return;
	snapshot_fill(pool, snapshot);
	ret = dp_status_write(&pool->status);
	atomic_store(&pool->status_error, ret);
	took_ns = dp_os_now_ns() - snapshot->written_ns;
	atomic_store_explicit(&pool->status_due_ns, snapshot->written_ns +
			      (took_ns > INTERVAL_NS / SHARE ? took_ns * SHARE :
							       INTERVAL_NS),
			      memory_order_relaxed);
}

void dp_snapshot_update(struct daxpin_pool *pool)
{
	if (dp_os_now_coarse_ns() < atomic_load_explicit(&pool->status_due_ns,
							 memory_order_relaxed) ||
	    pthread_mutex_trylock(&pool->status_mutex))
		return;
	snapshot_write(pool);
	pthread_mutex_unlock(&pool->status_mutex);
}

/* The memory for a snapshot with as many holders and jobs as can be listed, of the pool
 * at its largest. */
static uint64_t snapshot_bytes_max(const struct daxpin_pool *pool)
{
	struct dp_status_snapshot largest = snapshot_shape(pool,
						pool->media.geometry.most);

	/* One of half the size can have more cells, because they are smaller. */
	if (largest.cell_chunks > 1)
		largest.cells = DP_STATUS_CELLS;
	largest.holders = 2 * DP_STATUS_HOLDERS;
	largest.jobs = DP_STATUS_JOBS;
	return dp_status_bytes(&largest);
}

static void snapshot_create(struct daxpin_pool *pool)
{
	char sentence[400] = "";
	int ret = dp_status_create(&pool->status, &pool->media,
				   snapshot_bytes_max(pool),
				   &(struct dp_errmsg) { sentence, sizeof(sentence) });

	atomic_store(&pool->status_error, ret);
	if (ret)
		dp_log_write(&pool->log, pool->media.source.path,
			     "others cannot see what it does, because it has no status page: %s",
			     sentence);
	else
		snapshot_write(pool);
}

void dp_snapshot_begin(struct daxpin_pool *pool, bool none)
{
	pthread_mutex_init(&pool->status_mutex, NULL);
	pool->status_opened_ns = dp_os_now_ns();
	atomic_store(&pool->status_due_ns, UINT64_MAX);
	atomic_store(&pool->status_error, -ENODATA);
	if (pool->media.readonly)
		return;
	if (none)
		dp_status_remove_old(&pool->media);
	else
		snapshot_create(pool);
}

void dp_snapshot_remove(struct daxpin_pool *pool)
{
	dp_status_remove(&pool->status, &pool->media);
	pthread_mutex_destroy(&pool->status_mutex);
}
