/* SPDX-License-Identifier: BSD-3-Clause */
/* Of rdma_resize_kill: the peers, which write with keys of any owner. */
#include "rdma_resize.h"

struct peer {
	unsigned int seed;
	struct mailbox *box;
	struct wire wire;
	struct ibv_mr *mr;
	uint32_t connected;		/* to this owner */
};

/* An owner may die at any moment of this. The next one then answers. */
static void peer_connect(struct peer *peer)
{
	struct mailbox *box = peer->box;

	box->peer = wire_address(&peer->wire);
	atomic_fetch_add(&box->asked, 1);
	sem_post(&shared->ask);
	while (atomic_load(&box->answered) != atomic_load(&box->asked)) {
		if (atomic_load(&shared->stop))
			return;
		sem_wait(&box->answer);
	}
	peer->connected = box->by;
	if (wire_connect(&peer->wire, &box->owner))
		violation("a peer cannot connect", 0, 0);
}

/* One of the keys that peer 0 has of the last owner that made any. */
static struct key *choose_steady(struct peer *peer)
{
	uint32_t count = atomic_load(&shared->steady[draw(&peer->seed, STEADY)]);
	struct key *key = count ? &shared->key[count - 1] : NULL;

	return key && atomic_load(&key->state) != REUSED ? key : NULL;
}

/* A key of this state, if one is found in a few attempts, otherwise any, or NULL. */
static struct key *choose_any(struct peer *peer, enum key_state wanted)
{
	uint32_t count = atomic_load(&shared->keys);
	uint32_t recent = count < RECENT ? count : RECENT;
	struct key *key = NULL;

	for (uint32_t i = 0; i < RECENT && count; i++) {
		key = wanted == LIVE || draw(&peer->seed, 2) ?
			      &shared->key[count - 1 - draw(&peer->seed, recent)] :
			      &shared->key[draw(&peer->seed, count)];
		if (atomic_load(&key->state) == wanted)
			break;
	}
	return key;
}

static struct key *choose(struct peer *peer)
{
	struct key *key = peer->box == shared->box ? choose_steady(peer) : NULL;

	return key ? key : choose_any(peer, draw(&peer->seed, 2) ? LIVE : OLD);
}

static void peer_was_denied(struct peer *peer, const struct key *key,
			    enum key_state before)
{
	if (before == OLD)
		atomic_fetch_add(&peer->box->refused, 1);
	else if (atomic_load(&key->state) == LIVE && peer->connected == key->owner &&
		 atomic_load(&shared->mortal) != key->owner)
		violation("a good key was refused", key->serial, key->key.extent.addr);
	else
		atomic_fetch_add(&shared->overtaken, 1);
}

static void peer_has_written(struct peer *peer, const struct key *key,
			     enum key_state before)
{
	while (before == OLD && atomic_load(&shared->granting))
		sched_yield();
	if (before == OLD && atomic_load(&key->state) == OLD)
		violation("an old key was accepted", key->serial,
			  key->key.extent.addr);
	atomic_fetch_add(&shared->written, 1);
	if (atomic_load(&shared->dead) == key->owner)
		atomic_fetch_add(&peer->box->late, 1);
}

static void peer_write_once(struct peer *peer)
{
	struct key *key = choose(peer);
	enum key_state before = key ? atomic_load(&key->state) : REUSED;
	int status;

	if (before == REUSED) {
		sched_yield();
		return;
	}
	status = transfer_some(&peer->wire, IBV_WR_RDMA_WRITE, peer->mr, &key->key,
			       key->serial, &peer->seed);
	if (!status) {
		peer_has_written(peer, key, before);
		return;
	}
	if (status == (int)DENIED)
		peer_was_denied(peer, key, before);
	else
		atomic_fetch_add(&shared->unanswered, 1);
	peer_connect(peer);
}

int resize_peer(void *arg, int fd)
{
	const size_t bytes = BLOCKS_MAX * DAXPIN_BLOCK_SIZE;
	struct peer peer = { .box = arg };
	void *buffer = aligned_alloc(4096, bytes);
	struct nic nic;

	(void)fd;
	peer.seed = first_seed + (unsigned int)(peer.box - shared->box);
	if (!buffer || nic_open(&nic, rdma_device) || wire_open(&peer.wire, &nic))
		return 1;
	/* A dead owner does not answer, so don't ask for long. */
	peer.wire.retry_count = 1;
	peer.mr = ibv_reg_mr(nic.pd, buffer, bytes, IBV_ACCESS_LOCAL_WRITE);
	if (!peer.mr)
		return 2;
	peer_connect(&peer);
	while (!atomic_load(&shared->stop))
		peer_write_once(&peer);
	return 0;
}
