/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Finds an existing grant by the number that its peer sent (C10). Grants are spread
 * over the places by a hash. The numbers of a process are consecutive, but if 64
 * attachments make grants alternately, those of each have the same low bits.
 */
#include "rdma/table.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define PLACES_FIRST	64u

void dp_table_destroy(struct dp_table *table)
{
	free(table->places);
	table->places = NULL;
	table->place_count = 0;
}

static struct daxpin_grant **table_place(const struct dp_table *table,
					 uint64_t id)
{
	uint64_t hash = (id * UINT64_C(0x9e3779b97f4a7c15)) >> 32;

	return &table->places[hash & (table->place_count - 1)];
}

static void table_put(struct dp_table *table, struct daxpin_grant *grant)
{
	struct daxpin_grant **place = table_place(table, grant->key.id);

	grant->listed.next = *place;
	*place = grant;
}

/* Replace the table by one with `count` places. */
static int table_grow(struct dp_table *table, uint32_t count)
{
	struct dp_table old = *table;
	struct daxpin_grant *grant, *next;
	struct daxpin_grant **places = calloc(count,
					      sizeof(struct daxpin_grant *));

	if (!places)
		return -ENOMEM;
	table->places = places;
	table->place_count = count;
	for (uint32_t i = 0; i < old.place_count; i++)
		for (grant = old.places[i]; grant; grant = next) {
			next = grant->listed.next;
			table_put(table, grant);
		}
	free(old.places);
	return 0;
}

int dp_table_reserve(struct dp_table *table, uint32_t grants)
{
	uint32_t count = table->place_count ? table->place_count : PLACES_FIRST;

	while (count < grants)
		count *= 2;
	return count == table->place_count ? 0 : table_grow(table, count);
}

void dp_table_add(struct dp_table *table, struct daxpin_grant *grant)
{
	assert(grant->key.id && !dp_table_find(table, grant->key.id));
	table_put(table, grant);
}

void dp_table_remove(struct dp_table *table, struct daxpin_grant *grant)
{
	struct daxpin_grant **at = table_place(table, grant->key.id);

	while (*at != grant) {
		assert(*at);
		at = &(*at)->listed.next;
	}
	*at = grant->listed.next;
	grant->listed.next = NULL;
}

struct daxpin_grant *dp_table_find(const struct dp_table *table, uint64_t id)
{
	struct daxpin_grant *grant;

	if (!table->place_count)
		return NULL;
	for (grant = *table_place(table, id); grant; grant = grant->listed.next)
		if (grant->key.id == id)
			break;
	return grant;
}
