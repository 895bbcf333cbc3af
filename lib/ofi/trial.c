/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A target and a writer in this process: the writer writes to memory of the target, and
 * during the write the target closes its region, or region and endpoint. What arrives
 * after that, arrives late.
 *
 *  - A late byte is a proof. That none arrived is one only if the write would have
 *    arrived without the close, and was in progress at the close. So before each kind
 *    of close the same write is made without any, as a control, and must arrive whole;
 *    otherwise the verdict is UNKNOWN, for example because a provider makes no
 *    progress.
 *  - If each write had arrived completely before the close, the verdict is UNKNOWN,
 *    too: there the writer's process itself stores into the memory of the target (shm
 *    with FI_MR_VIRT_ADDR), and nothing that the target does ends it.
 *  - The close of the endpoint is relied on only if a part of a write had arrived at
 *    one. On shm there is no such moment: one call of the target copies all, so no
 *    thread that closes can find a part. That is accepted if the control showed it,
 *    also with a write that is longer than what sockets hold, and the provider has no
 *    threads of its own (FI_PROGRESS_MANUAL).
 *  - After each round and control, when all is closed, the memory is zeroed. Bytes
 *    that are stored then show that nothing ends access, and the memory is not used
 *    again.
 *  - The close of the region is relied on only if, in all rounds, the writer's
 *    request failed after it, and a second write with the same key was refused on a new
 *    connection, and if parts of two writes had arrived. A request also fails because
 *    an earlier one did, or the connection ended (IBV_WC_WR_FLUSH_ERR of verbs): then
 *    its key is untried. After a wrong verdict REGION or ENDPOINT bytes
 *    of a peer would arrive in blocks that were reused; a wrong UNKNOWN or NOTHING
 *    only refuses the provider.
 *  - Of a device with a name only the close of a region is tried: deregistering is a
 *    barrier there, unless a cache prevents it.
 */
#include "ofi/trial.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_errno.h>
#include <rdma/fi_rma.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "grant/retry.h"
#include "ofi/endpoint.h"
#include "ofi/provider.h"
#include "ofi/verdict.h"
#include "ofi/wait.h"

#define ROUNDS_MAX	8
/* If the provider has threads, they may have copied all before this one runs again. */
#define ROUNDS_MAX_AUTO	64
#define ENOUGH		3		/* rounds with a write in progress */
/* Rounds in which a part had arrived, to rely on the close. */
#define PARTIAL_REGION	2
#define PARTIAL_ENDPOINT	1
#define BEGIN_MS	2000		/* until the first byte or a result arrives */
/* Without a byte for so long the control has failed, and without a connection any
 * write. On a machine with a load of 30 on 2 CPUs 5 seconds were not enough. */
#define CONTROL_MS	20000
#define STEP_MS		5		/* of progress, between two counts */
#define QUIET_MS	100		/* without a byte: no more are expected */
#define SETTLE_MS	20		/* the same after the completion */
/* Linux lets a connection of TCP buffer 36 MiB unless it is configured otherwise. */
#define ATOMIC_BYTES	(64u << 20)
#define FIRST		0x5a
#define SECOND		0xa5
#define TARGET_KEY	7
#define WRITER_KEY	8

/* Remains allocated if the provider may still use a part of it: a request that is not
 * over uses its context and its source. */
struct trial {
	struct fi_info *info;		/* a copy */
	struct dp_endpoint target, writer;
	struct fid_mr *region, *source_region;
	fi_addr_t to;
	uint64_t key;
	unsigned char *memory, *source;
	uint64_t length;
	bool is_atomic;		/* one call of the target stores all of a write */
	uint64_t unended;	/* bytes that were stored after all was closed */
	const struct dp_errmsg *errmsg;	/* NULL: the context need not be recorded */
	struct fi_context2 first_context, second_context;
	struct trial *next;	/* in trial_kept */
};

/* Trials whose memory may still be read or written, so it is never freed. */
static struct trial *_Atomic trial_kept;

/* What a round has shown. */
struct trial_round {
	bool was_partial;	/* at the close something had arrived, but not all */
	bool in_progress;	/* at the close not all had arrived */
	bool was_refused;	/* the writer's requests failed after the close */
	bool was_closed;	/* the close succeeded */
	bool was_stuck;		/* a write could not be posted: it was not connected */
	bool key_is_untried;	/* no write with the old key reached the target */
	uint64_t before;	/* bytes that had arrived at the close */
	uint64_t late;		/* bytes that arrived after the close */
};

static void trial_free(struct trial *t)
{
	if (t->info)
		fi_freeinfo(t->info);
	free(t->source);
	free(t);
}

static void trial_end(struct trial *t, bool keep)
{
	if (keep)
		t->next = atomic_exchange(&trial_kept, t);
	else
		trial_free(t);
}

static struct trial *trial_create(const struct fi_info *info, void *memory,
				  uint64_t length)
{
	struct trial *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->memory = memory;
	t->length = length;
	t->info = fi_dupinfo(info);
	t->source = malloc(length);
	if (t->info && t->source)
		return t;
	trial_free(t);
	return NULL;
}

/* How many bytes of the memory have this value, counted by words where possible. */
static uint64_t trial_count(const struct trial *t, unsigned char value)
{
	const uint64_t all = UINT64_C(0x0101010101010101) * value;
	uint64_t count = 0, word;

	for (uint64_t i = 0; i < t->length; i += sizeof(word)) {
		memcpy(&word, t->memory + i, sizeof(word));
		if (word == all)
			count += sizeof(word);
		else
			for (; word; word >>= 8)
				count += (word & 0xff) == value;
	}
	return count;
}

static bool trial_has_begun(const struct trial *t, unsigned char value)
{
	const volatile unsigned char *bytes = t->memory;

	return bytes[0] == value || bytes[t->length / 2] == value ||
	       bytes[t->length - 1] == value;
}

static void trial_step(struct trial *t, struct dp_endpoint_result *result)
{
	dp_endpoint_progress(&t->target, NULL);
	dp_endpoint_progress(&t->writer, result);
}

/* ------------------------------------------------------------ open and close */

static int trial_open_source(struct trial *t)
{
	return dp_region_open(&t->writer, t->info, t->source, t->length, FI_WRITE,
			      WRITER_KEY, &t->source_region);
}

static int trial_open(struct trial *t, struct fid_fabric *fabric)
{
	int ret = dp_endpoint_open(&t->target, fabric, t->info, t->errmsg);

	if (!ret)
		ret = dp_endpoint_open(&t->writer, fabric, t->info, t->errmsg);
	if (!ret)
		ret = dp_endpoint_name_target(&t->writer, &t->target, &t->to);
	if (!ret)
		ret = dp_region_open(&t->target, t->info, t->memory, t->length,
				     FI_REMOTE_WRITE, TARGET_KEY, &t->region);
	if (!ret)
		t->key = fi_mr_key(t->region);
	return ret ? ret : trial_open_source(t);
}

static int trial_close_region(struct fid_mr **region)
{
	struct dp_retry retry = { 0 };
	int ret = 0;

	do
		ret = *region ? dp_region_close(*region) : 0;
	while (dp_retry(&retry, ret));
	if (!ret)
		*region = NULL;
	return ret;
}

static int trial_close_endpoint(struct dp_endpoint *endpoint)
{
	struct dp_retry retry = { 0 };
	int ret;

	do
		ret = dp_endpoint_close(endpoint);
	while (dp_retry(&retry, ret));
	return ret;
}

/* While a region of it is open, an endpoint must not be closed (ending_end_all()). */
static int trial_close_side(struct dp_endpoint *endpoint, struct fid_mr **region)
{
	int ret = trial_close_region(region);

	return ret ? ret : trial_close_endpoint(endpoint);
}

/* The writer first: what it has posted must not go on. */
static int trial_close(struct trial *t, bool *ret_kept)
{
	int ret = trial_close_side(&t->writer, &t->source_region), one;

	one = trial_close_side(&t->target, &t->region);
	ret = ret ? ret : one;
	if (ret)
		*ret_kept = true;
	return ret;
}

/* All is closed: nothing may be stored to the memory any more. */
static void trial_count_unended(struct trial *t)
{
	struct dp_wait wait = dp_wait_for(SETTLE_MS);

	memset(t->memory, 0, t->length);
	while (dp_waits(&wait))
		;
	t->unended += trial_count(t, FIRST) + trial_count(t, SECOND);
}

/* ----------------------------------------------------------------- one write */

/* -FI_EAGAIN: it could not be connected. */
static int trial_post(struct trial *t, unsigned char value)
{
	void *context = value == FIRST ? &t->first_context : &t->second_context;
	struct dp_wait wait = dp_wait_for(CONTROL_MS);
	uint64_t addr = t->info->domain_attr->mr_mode & FI_MR_VIRT_ADDR ?
				(uintptr_t)t->memory : 0;
	ssize_t ret;

	memset(t->source, value, t->length);
	do {
		ret = fi_write(t->writer.ep, t->source, t->length,
			       fi_mr_desc(t->source_region), t->to, addr, t->key,
			       context);
		if (ret == -FI_EAGAIN)
			trial_step(t, NULL);
	} while (ret == -FI_EAGAIN && dp_waits(&wait));
	return (int)ret;
}

/* Make progress until the write has a result or, unless value is 0, its first byte has
 * arrived. */
static void trial_await_result(struct trial *t, struct dp_endpoint_result *result,
			       unsigned char value)
{
	struct dp_wait wait = dp_wait_for(BEGIN_MS);

	while (!(value && trial_has_begun(t, value)) && !result->is_over &&
	       dp_waits(&wait))
		trial_step(t, result);
}

/* Make progress until no more bytes are expected. */
static void trial_await_end(struct trial *t, struct dp_endpoint_result *result,
			    unsigned char value)
{
	uint64_t count, before = trial_count(t, value);
	struct dp_wait wait;

	for (;;) {
		wait = dp_wait_for(result->is_over ? SETTLE_MS : QUIET_MS);
		while (dp_waits(&wait))
			trial_step(t, result);
		count = trial_count(t, value);
		if (count == before)
			return;
		before = count;
	}
}

/* The same after a close. A device can be slow to refuse a write; of other providers
 * the close of the endpoint is tried as well, whether they refuse it or not. */
static void trial_await_refusal(struct trial *t, struct dp_endpoint_result *result,
				unsigned char value)
{
	if (dp_provider_rdma_device(t->info))
		trial_await_result(t, result, 0);
	trial_await_end(t, result, value);
}

static bool trial_is_manual(const struct trial *t)
{
	return t->info->domain_attr->data_progress == FI_PROGRESS_MANUAL;
}

/* Make progress until the first byte arrives. Has the target alone stored all, in one
 * call? */
static bool trial_begins_atomically(struct trial *t, unsigned char value)
{
	const struct dp_wait wait = dp_wait_for(CONTROL_MS);

	while (dp_wait_has_time(&wait)) {
		if (trial_has_begun(t, value))
			return false;
		dp_endpoint_progress(&t->target, NULL);
		if (trial_has_begun(t, value))
			return trial_is_manual(t) &&
			       trial_count(t, value) == t->length;
		dp_endpoint_progress(&t->writer, NULL);
	}
	return false;
}

/* Make progress until all has arrived, or nothing for a long time. */
static uint64_t trial_await_all(struct trial *t, unsigned char value)
{
	struct dp_wait wait = dp_wait_for(CONTROL_MS);
	struct dp_endpoint_result result = { .context = &t->first_context };
	uint64_t count = 0, before, step_end;

	while (count < t->length && dp_wait_has_time(&wait)) {
		before = count;
		step_end = daxpin_deadline_ms(STEP_MS);
		do
			trial_step(t, &result);
		while (daxpin_deadline_ms(0) < step_end);
		count = trial_count(t, value);
		if (count > before)
			wait = dp_wait_for(CONTROL_MS);
	}
	return count;
}

static bool trial_failed(const struct dp_endpoint_result *result)
{
	return result->is_over && result->error;
}

/* The second write may lie over bytes of the first. */
static void trial_count_late(const struct trial *t, struct trial_round *round)
{
	const uint64_t first = trial_count(t, FIRST);
	uint64_t late = trial_count(t, SECOND);

	assert(round->was_closed);
	if (first > round->before)
		late += first - round->before;
	round->late = dp_max(round->late, late);
}

/* Give the writer a new endpoint, and its source a new region, which may be of one
 * endpoint. */
static int trial_renew_writer(struct trial *t)
{
	int ret = trial_close_region(&t->source_region);

	if (!ret)
		ret = dp_endpoint_renew(&t->writer, t->info);
	return ret ? ret : trial_open_source(t);
}

/* After the close: does the old key still work? Only for an open target. What the
 * provider does not carry out, for whatever reason, has not tried it. */
static void trial_use_old_key(struct trial *t, struct trial_round *round)
{
	struct dp_endpoint_result result = { .context = &t->second_context };
	int ret = trial_renew_writer(t);

	if (!ret)
		ret = trial_post(t, SECOND);
	if (!ret)
		trial_await_refusal(t, &result, SECOND);
	trial_count_late(t, round);
	round->was_stuck = ret == -FI_EAGAIN;
	if (ret || (trial_failed(&result) && !dp_endpoint_refused_key(&result)))
		round->key_is_untried = true;
	else if (!trial_failed(&result))
		round->was_refused = false;
}

static int trial_write(struct trial *t, bool wait, bool endpoint,
		       struct trial_round *round)
{
	struct dp_endpoint_result result = { .context = &t->first_context };
	int ret;

	memset(t->memory, 0, t->length);
	ret = trial_post(t, FIRST);
	round->was_stuck = ret == -FI_EAGAIN;
	if (ret)
		return round->was_stuck ? 0 : ret;
	if (wait)
		trial_await_result(t, &result, FIRST);
	ret = trial_close_region(&t->region);
	if (!ret && endpoint)
		ret = trial_close_endpoint(&t->target);
	if (ret)
		return ret;
	round->was_closed = true;
	round->before = trial_count(t, FIRST);
	/* A completion may only say that all was sent. */
	round->in_progress = round->before < t->length && !trial_failed(&result);
	round->was_partial = round->in_progress && round->before > 0;
	trial_await_refusal(t, &result, FIRST);
	trial_count_late(t, round);
	round->was_refused = trial_failed(&result);
	if (!endpoint && !round->late)
		trial_use_old_key(t, round);
	return 0;
}

static int trial_write_whole(struct trial *t, uint64_t *ret_arrived)
{
	int ret;

	memset(t->memory, 0, t->length);
	*ret_arrived = 0;
	ret = trial_post(t, FIRST);
	if (!ret) {
		t->is_atomic = trial_begins_atomically(t, FIRST);
		*ret_arrived = trial_await_all(t, FIRST);
	}
	return ret == -FI_EAGAIN ? 0 : ret;	/* it was never connected */
}

/* The write without a close: how much of it arrives? */
static int trial_control(struct trial *t, struct fid_fabric *fabric,
			 uint64_t *ret_arrived, bool *ret_kept)
{
	int ret = trial_open(t, fabric), close_ret;

	if (!ret)
		ret = trial_write_whole(t, ret_arrived);
	close_ret = trial_close(t, ret_kept);
	trial_count_unended(t);
	return ret ? ret : close_ret;
}

/* Without `wait` the close follows the post directly. What arrives when the writer is
 * closed is late, too. */
static int trial_round(struct trial *t, struct fid_fabric *fabric, bool wait,
		       bool endpoint, struct trial_round *round, bool *ret_kept)
{
	int ret = trial_open(t, fabric), close_ret;

	if (!ret)
		ret = trial_write(t, wait, endpoint, round);
	close_ret = trial_close(t, ret_kept);
	if (round->was_closed)
		trial_count_late(t, round);
	trial_count_unended(t);
	return ret ? ret : close_ret;
}

/* ------------------------------------------------------------------ verdicts */

/* What the rounds of one kind have shown together. */
struct trial_sum {
	uint64_t missing;	/* bytes of the control: the rounds were not made */
	unsigned int rounds, in_progress, partial, refused;
	uint64_t late;
	bool key_is_untried;	/* in a round */
};

static bool trial_has_enough(const struct trial_sum *sum, bool endpoint)
{
	return sum->in_progress >= ENOUGH &&
	       sum->partial >= (endpoint ? PARTIAL_ENDPOINT : PARTIAL_REGION);
}

/* Stop at the first late byte, or when enough writes were in progress. */
static int trial_repeat(struct trial *t, struct fid_fabric *fabric,
			bool endpoint, struct trial_sum *sum, bool *ret_kept)
{
	const unsigned int most = trial_is_manual(t) ? ROUNDS_MAX : ROUNDS_MAX_AUTO;
	struct trial_round round;
	uint64_t arrived = 0;
	int ret = trial_control(t, fabric, &arrived, ret_kept);

	sum->missing = t->length - arrived;
	for (; !ret && !sum->missing && sum->rounds < most; sum->rounds++) {
		if (sum->late || t->unended || trial_has_enough(sum, endpoint))
			return 0;
		round = (struct trial_round){ 0 };
		ret = trial_round(t, fabric, sum->rounds % 2, endpoint, &round,
				  ret_kept);
		if (ret)
			return ret;
		sum->in_progress += round.in_progress;
		sum->partial += round.was_partial;
		sum->refused += round.was_refused;
		sum->late += round.late;
		sum->key_is_untried |= round.key_is_untried;
		if (round.was_stuck && !round.was_closed)
			sum->missing = t->length;
		if (round.was_stuck)
			return 0;
	}
	return ret;
}

static bool trial_trusts_region(const struct trial_sum *sum)
{
	return !sum->missing && !sum->late && !sum->key_is_untried &&
	       sum->partial >= PARTIAL_REGION && sum->refused == sum->rounds;
}

/* Does one call of the target store also a long write? With memory of its own. */
static int trial_confirm_atomic(const struct trial *t, struct fid_fabric *fabric,
				bool *ret_confirmed, bool *ret_kept)
{
	void *memory = malloc(ATOMIC_BYTES);
	struct trial *large = memory ? trial_create(t->info, memory, ATOMIC_BYTES) :
				       NULL;
	uint64_t arrived = 0;
	bool kept = false;
	int ret = -ENOMEM;

	if (large) {
		large->errmsg = t->errmsg;
		ret = trial_control(large, fabric, &arrived, &kept);
		*ret_confirmed = !ret && arrived == large->length &&
				 large->is_atomic && !large->unended;
	}
	if (kept || (large && large->unended)) {
		trial_end(large, true);
		*ret_kept = kept;
		return ret;
	}
	if (large)
		trial_free(large);
	free(memory);
	return ret;
}

/* Does the close of the endpoint end access? If no byte arrived after one. */
static int trial_judge_endpoint(struct trial *t, struct fid_fabric *fabric,
				const struct trial_sum *sum, bool *ret_ends,
				bool *ret_kept)
{
	*ret_ends = sum->partial >= PARTIAL_ENDPOINT;
	if (*ret_ends || !sum->in_progress || !t->is_atomic)
		return 0;
	return trial_confirm_atomic(t, fabric, ret_ends, ret_kept);
}

/* Whatever else was found: what is still stored, nothing ends. */
static bool trial_is_unended(const struct trial *t, struct daxpin_ofi_report *report)
{
	if (!t->unended)
		return false;
	report->ends = DAXPIN_OFI_ENDS_NOTHING;
	report->endpoint_late = t->unended;
	return true;
}

static int trial_judge(struct trial *t, struct fid_fabric *fabric,
		       struct daxpin_ofi_report *report, uint64_t *ret_missing,
		       bool *ret_kept)
{
	struct trial_sum region = { 0 }, endpoint = { 0 };
	int ret = trial_repeat(t, fabric, false, &region, ret_kept);
	bool ends = false;

	report->region_late = region.late;
	report->rounds = region.in_progress;
	*ret_missing = region.missing;
	if (trial_is_unended(t, report) || ret || region.missing)
		return ret;
	if (trial_trusts_region(&region)) {
		report->ends = DAXPIN_OFI_ENDS_REGION;
		return 0;
	}
	if (dp_provider_rdma_device(t->info))
		return 0;
	ret = trial_repeat(t, fabric, true, &endpoint, ret_kept);
	report->endpoint_late = endpoint.late;
	report->rounds += endpoint.in_progress;
	*ret_missing = endpoint.missing;
	if (trial_is_unended(t, report) || ret || endpoint.missing)
		return ret;
	if (endpoint.late)
		report->ends = DAXPIN_OFI_ENDS_NOTHING;
	else
		ret = trial_judge_endpoint(t, fabric, &endpoint, &ends, ret_kept);
	if (ends)
		report->ends = DAXPIN_OFI_ENDS_ENDPOINT;
	return ret;
}

/* -------------------------------------------------------------- one trial */

int dp_trial(struct fid_fabric *fabric, const struct fi_info *info, void *memory,
	     uint64_t length, struct daxpin_ofi_report *report,
	     const struct dp_errmsg *errmsg, bool *ret_kept)
{
	struct trial *t = trial_create(info, memory, length);
	uint64_t missing = 0;
	int ret;

	assert(report->ends == DAXPIN_OFI_ENDS_UNKNOWN);
	if (!t)
		return -ENOMEM;
	t->errmsg = errmsg;
	ret = trial_judge(t, fabric, report, &missing, ret_kept);
	dp_verdict_describe(info, missing, length, report);
	/* What nothing ends still reads the source. */
	trial_end(t, *ret_kept || report->ends == DAXPIN_OFI_ENDS_NOTHING);
	return ret;
}

/* ---------------------------------------------------------- who stores bytes */

/* The device's verbs context exists while a domain is open. */
static int trial_judge_named(struct trial *t, struct fid_fabric *fabric,
			     struct daxpin_ofi_report *report, bool *ret_kept)
{
	const struct dp_errmsg what = { report->writer_what,
					sizeof(report->writer_what) };
	int ret = fi_domain(fabric, t->info, &t->target.domain, NULL);

	if (ret) {
		t->target.domain = NULL;
		return ret;
	}
	ret = dp_provider_check_context(t->info, &what);
	if (!ret) {
		report->writer = DAXPIN_OFI_WRITER_RDMA;
		dp_provider_describe_rdma(t->info, what.text, what.size);
	} else if (ret == -EOPNOTSUPP) {
		report->writer = DAXPIN_OFI_WRITER_DEVICE;
	}
	return trial_close(t, ret_kept);
}

/* The rule is that of enum daxpin_ofi_writer. A provider may open its device at the
 * first transfer only, so one is made before. */
static int trial_judge_writer(struct trial *t, struct fid_fabric *fabric,
			      struct daxpin_ofi_report *report, bool *ret_kept)
{
	int ret = trial_open(t, fabric), close_ret, devices;
	uint64_t arrived = 0;
	struct dp_device_found found;

	if (!ret)
		ret = trial_write_whole(t, &arrived);
	if (!ret && arrived < t->length) {
		snprintf(report->writer_what, sizeof(report->writer_what),
			 "%s: " DP_VERDICT_MISSING
			 "what stores a peer's bytes: " DP_VERDICT_FIND_OUT,
			 t->info->fabric_attr->prov_name, t->length - arrived,
			 t->length);
	} else if (!ret) {
		devices = dp_provider_find_device(&found);
		dp_verdict_of_devices(t->info->fabric_attr->prov_name, devices,
				      &found, report);
	}
	close_ret = trial_close(t, ret_kept);
	return ret ? ret : close_ret;
}

static int trial_judge_on(struct trial *t, struct fid_fabric *fabric,
			  struct daxpin_ofi_report *report, bool *ret_kept)
{
	struct fid_fabric *own = NULL;
	int ret = fabric ? 0 : fi_fabric(t->info->fabric_attr, &own, NULL);
	int close_ret;

	if (ret)
		return ret;
	fabric = fabric ? fabric : own;
	ret = dp_provider_rdma_device(t->info) ?
		      trial_judge_named(t, fabric, report, ret_kept) :
		      trial_judge_writer(t, fabric, report, ret_kept);
	close_ret = own ? fi_close(&own->fid) : 0;
	return ret ? ret : close_ret;
}

int dp_trial_find_writer(const struct fi_info *info, struct fid_fabric *fabric,
			 struct daxpin_ofi_report *report)
{
	void *memory;
	struct trial *t;
	bool kept = false;
	int ret;

	assert(report->writer == DAXPIN_OFI_WRITER_UNKNOWN);
	report->writer = dp_provider_asked(info, report->writer_what,
					   sizeof(report->writer_what));
	if (report->writer != DAXPIN_OFI_WRITER_UNKNOWN)
		return 0;
	memory = malloc(DP_TRIAL_BYTES_MIN);
	t = memory ? trial_create(info, memory, DP_TRIAL_BYTES_MIN) : NULL;
	ret = t ? trial_judge_on(t, fabric, report, &kept) : -ENOMEM;
	/* What the provider did not release is never used for anything else. */
	if (t)
		trial_end(t, kept);
	if (!kept)
		free(memory);
	return ret;
}

int dp_trial_check_writer(const struct fi_info *info, struct fid_fabric *fabric,
			  struct daxpin_ofi_report *report,
			  const struct dp_errmsg *errmsg)
{
	const char *provider = info->fabric_attr->prov_name;
	int ret;

	if (!(info->caps & FI_RMA) || info->ep_attr->type != FI_EP_RDM)
		return dp_fail(errmsg, -EOPNOTSUPP,
			       "%s: info has no FI_RMA, or its endpoints are not FI_EP_RDM, so it cannot be found out whether a device stores bytes: set caps and ep_attr->type in the hints of fi_getinfo()",
			       provider);
	ret = dp_trial_find_writer(info, fabric, report);
	if (ret)
		return dp_fail(errmsg, ret,
			       "what stores a peer's bytes cannot be found out, because %s failed: %s",
			       provider, fi_strerror(-ret));
	if (report->writer == DAXPIN_OFI_WRITER_PROCESS ||
	    report->writer == DAXPIN_OFI_WRITER_RDMA)
		return 0;
	return dp_fail(errmsg, -EOPNOTSUPP, "%s", report->writer_what);
}
