/* SPDX-License-Identifier: BSD-3-Clause */
#include "holder.h"
#include "os.h"

void dp_holders_init(struct dp_holders *holders)
{
	memset(holders, 0, sizeof(*holders));
	pthread_mutex_init(&holders->mutex, NULL);
	for (unsigned int i = 0; i < DP_HOLDER_SHARDS; i++)
		pthread_mutex_init(&holders->shard[i].mutex, NULL);
}

void dp_holders_fini(struct dp_holders *holders)
{
	assert(!holders->registrations);
	pthread_mutex_destroy(&holders->mutex);
	for (unsigned int i = 0; i < DP_HOLDER_SHARDS; i++)
		pthread_mutex_destroy(&holders->shard[i].mutex);
}

static uint32_t shard_of(uint64_t addr)
{
	return (addr >> 12) % DP_HOLDER_SHARDS;
}

void dp_holder_add(struct dp_holders *holders, struct daxpin_hold *hold)
{
	struct dp_holder_shard *shard;

	hold->since_ns = dp_os_now_coarse_ns();
	hold->shard = shard_of(hold->extent.addr);
	shard = &holders->shard[hold->shard];
	pthread_mutex_lock(&shard->mutex);
	hold->next = shard->first;
	hold->prev = &shard->first;
	if (hold->next)
		hold->next->prev = &hold->next;
	shard->first = hold;
	pthread_mutex_unlock(&shard->mutex);
}

void dp_holder_remove(struct dp_holders *holders, struct daxpin_hold *hold)
{
	struct dp_holder_shard *shard = &holders->shard[hold->shard];

	assert(hold->shard == shard_of(hold->extent.addr));
	pthread_mutex_lock(&shard->mutex);
	assert(hold->prev && *hold->prev == hold);
	*hold->prev = hold->next;
	if (hold->next)
		hold->next->prev = hold->prev;
	pthread_mutex_unlock(&shard->mutex);
	hold->prev = NULL;
}

void dp_registration_add(struct dp_holders *holders,
			 struct daxpin_registration *registration)
{
	registration->since_ns = dp_os_now_ns();
	pthread_mutex_lock(&holders->mutex);
	registration->next = holders->registration;
	holders->registration = registration;
	holders->registrations++;
	pthread_mutex_unlock(&holders->mutex);
}

void dp_registration_remove(struct dp_holders *holders,
			    struct daxpin_registration *registration)
{
	struct daxpin_registration **at = &holders->registration;

	pthread_mutex_lock(&holders->mutex);
	while (*at && *at != registration)
		at = &(*at)->next;
	assert(*at);
	*at = registration->next;
	holders->registrations--;
	pthread_mutex_unlock(&holders->mutex);
}

uint32_t dp_registration_count(struct dp_holders *holders)
{
	uint32_t count;

	pthread_mutex_lock(&holders->mutex);
	count = holders->registrations;
	pthread_mutex_unlock(&holders->mutex);
	return count;
}

uint32_t dp_holders_of(struct dp_holders *holders, struct daxpin_extent extent,
		       void (*fn)(const struct daxpin_holder *, void *),
		       void *arg)
{
	struct dp_holder_shard *shard = &holders->shard[shard_of(extent.addr)];
	uint64_t now = dp_os_now_ns();
	uint32_t count = 0;

	pthread_mutex_lock(&shard->mutex);
	for (struct daxpin_hold *hold = shard->first; hold; hold = hold->next) {
		if (hold->extent.addr != extent.addr ||
		    hold->extent.gen != extent.gen)
			continue;
		count++;
		if (fn)
			fn(&(struct daxpin_holder) {
				extent, now - hold->since_ns, hold->access, 1,
				hold->label }, arg);
	}
	pthread_mutex_unlock(&shard->mutex);
	return count;
}

void dp_registrations_of(struct dp_holders *holders, uint32_t segment,
			 void (*fn)(const struct daxpin_holder *, void *),
			 void *arg)
{
	struct daxpin_registration *at;
	uint64_t now = dp_os_now_ns();

	pthread_mutex_lock(&holders->mutex);
	for (at = holders->registration; at; at = at->next)
		if (at->segment == segment ||
		    at->segment == DAXPIN_ALL_SEGMENTS)
			fn(&(struct daxpin_holder) {
				{ 0, 0 }, now - at->since_ns,
				DAXPIN_HOLD_READ | DAXPIN_HOLD_WRITE, 1,
				at->label }, arg);
	pthread_mutex_unlock(&holders->mutex);
}
