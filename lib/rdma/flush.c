/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Durability at the target, from the peer that writes. The completion of a write only
 * means that the target's NIC has it. Two requests after it on the same queue pair
 * achieve more:
 *
 *  - FLUSH, if the verbs, the queue pair and the grant support it. By the specification
 *    its completion means that the range is in the power-fail domain; soft-RoCE
 *    completes it even for ordinary memory (rdma.md R18).
 *  - A READ of the range's last byte: it does not overtake writes on the target's
 *    bus, so at its completion the writes are where the target's platform puts them.
 *    The peer cannot determine whether that is the power-fail domain, so the caller
 *    must state it in `platform`. Otherwise the call fails with -EOPNOTSUPP.
 *
 * A bounced grant is a copy in ordinary memory, so a flush cannot make it durable.
 */

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <daxpin-rdma.h>
#include "util/cancel.h"
#include "util/util.h"

#define FLUSH_PERSISTENT	(1u << 9)	/* IBV_ACCESS_FLUSH_PERSISTENT */

static_assert(DAXPIN_ACCESS_FLUSH & FLUSH_PERSISTENT, "one of the two bits");

struct flush {
	struct ibv_qp *qp;
	const struct daxpin_grant_key *key;
	uint64_t offset, length;
	const struct daxpin_flush_options *o;
};

static int flush_check_range(const struct flush *flush)
{
	const struct daxpin_grant_key *key = flush->key;

	if (flush->length && flush->offset < key->length &&
	    flush->length <= key->length - flush->offset)
		return 0;
	return dp_fail(DP_ERRMSG_OF(flush->o), -EINVAL,
		       "%" PRIu64 " bytes at offset %" PRIu64 " are not inside the grant, which has %" PRIu64 " bytes",
		       flush->length, flush->offset, key->length);
}

#ifdef DP_HAVE_WR_FLUSH
/* NULL if the grant or the queue pair does not support FLUSH. A queue pair does if it
 * was created with IBV_QP_EX_WITH_FLUSH. */
static struct ibv_qp_ex *flush_verb_queue_pair(const struct flush *flush)
{
	struct ibv_qp_ex *ex = ibv_qp_to_qp_ex(flush->qp);

	return flush->key->access & FLUSH_PERSISTENT && ex && ex->wr_flush ?
	       ex : NULL;
}

static int flush_post_verb(const struct flush *flush)
{
	struct ibv_qp_ex *ex = flush_verb_queue_pair(flush);

	if (!ex)
		return -EOPNOTSUPP;
	ibv_wr_start(ex);
	ex->wr_id = flush->o->wr_id;
	ex->wr_flags = IBV_SEND_SIGNALED;
	ibv_wr_flush(ex, flush->key->rkey, flush->key->addr + flush->offset,
		     flush->length, IBV_FLUSH_PERSISTENT, IBV_FLUSH_RANGE);
	return -ibv_wr_complete(ex);
}
#else
static int flush_post_verb(const struct flush *flush)
{
	(void)flush;
	return -EOPNOTSUPP;
}
#endif

static int flush_check_read(const struct flush *flush)
{
	const struct daxpin_flush_options *o = flush->o;

	if (o->platform != DAXPIN_PLATFORM_ADR_NO_DDIO &&
	    o->platform != DAXPIN_PLATFORM_EADR)
		return dp_fail(DP_ERRMSG_OF(o), -EOPNOTSUPP,
			       "this queue pair and grant have no FLUSH, and the options do not state that a read makes writes durable at the target: set platform if it does, or let the target publish with daxpin_rdma_publish()");
	if (!(flush->key->access & IBV_ACCESS_REMOTE_READ))
		return dp_fail(DP_ERRMSG_OF(o), -EOPNOTSUPP,
			       "this queue pair and grant have no FLUSH, and the grant allows no read: request a grant with IBV_ACCESS_REMOTE_READ");
	if (!o->sink.addr || !o->sink.length)
		return dp_fail(DP_ERRMSG_OF(o), -EINVAL,
			       "a read needs a byte of memory for its result: set sink");
	return 0;
}

static int flush_post_read(const struct flush *flush)
{
	struct ibv_sge sink = flush->o->sink;
	struct ibv_send_wr wr = {
		.wr_id = flush->o->wr_id,
		.sg_list = &sink, .num_sge = 1,
		.opcode = IBV_WR_RDMA_READ,
		.send_flags = IBV_SEND_SIGNALED,
		.wr.rdma = {
			.remote_addr = flush->key->addr + flush->offset +
				       flush->length - 1,
			.rkey = flush->key->rkey,
		},
	};
	struct ibv_send_wr *bad;
	int ret = flush_check_read(flush);

	sink.length = 1;
	return ret ? ret : -ibv_post_send(flush->qp, &wr, &bad);
}

static int flush_post(const struct flush *flush,
		      enum daxpin_flush_method *ret_method)
{
	enum daxpin_flush_method method = DAXPIN_FLUSH_VERB;
	int ret;

	if (flush->key->access & DAXPIN_KEY_BOUNCED)
		return dp_fail(DP_ERRMSG_OF(flush->o), -EOPNOTSUPP,
			       "the grant is a copy in the target's ordinary memory: only the target can make it durable, with the revoke");
	ret = flush_check_range(flush);
	if (ret)
		return ret;
	ret = flush_post_verb(flush);
	if (ret == -EOPNOTSUPP) {
		method = DAXPIN_FLUSH_READ;
		ret = flush_post_read(flush);
	}
	if (!ret && ret_method)
		*ret_method = method;
	return ret;
}

DP_EXPORT int daxpin_rdma_flush(struct ibv_qp *qp,
				const struct daxpin_grant_key *key,
				uint64_t offset, uint64_t length,
				const struct daxpin_flush_options *options,
				enum daxpin_flush_method *ret_method)
{
	DP_UNCANCELLED();
	struct daxpin_flush_options o = { .size = sizeof(o) };
	struct flush flush = {
		.qp = qp, .key = key, .offset = offset, .length = length,
		.o = &o,
	};
	int ret = options ? DP_TAKE_OPTIONS(&o, options) : -EINVAL;

	if (ret)
		return ret;
	/* Only a reliable connection guarantees the order. */
	if (!qp || qp->qp_type != IBV_QPT_RC || !key)
		ret = -EINVAL;
	if (!ret && (o.flags || o.platform > DAXPIN_PLATFORM_EADR))
		ret = dp_fail(DP_ERRMSG_OF(&o), -EINVAL,
			      "flags 0x%x, platform %u: unknown", o.flags,
			      o.platform);
	if (!ret)
		ret = flush_post(&flush, ret_method);
	return dp_end_errmsg(DP_ERRMSG_OF(&o), ret, daxpin_strerror(ret));
}
