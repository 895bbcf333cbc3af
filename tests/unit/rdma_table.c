/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table of grants: a peer's answer is found without a search of all grants, at any
 * distance between the numbers of an attachment's grants.
 */
#include "fixture.h"
#include "rdma/table.h"

#define GRANTS	40000u
#define LONGEST	12u		/* grants in a place; 6 or 7 by chance */

static struct daxpin_grant grants[GRANTS];

static uint32_t longest_place(const struct dp_table *table)
{
	uint32_t longest = 0, length;

	for (uint32_t i = 0; i < table->place_count; i++) {
		length = 0;
		for (struct daxpin_grant *at = table->places[i]; at;
		     at = at->listed.next)
			length++;
		if (length > longest)
			longest = length;
	}
	return longest;
}

static void fill_and_empty(uint64_t distance)
{
	struct dp_table table = { 0 };

	for (uint32_t i = 0; i < GRANTS; i++) {
		grants[i].key.id = 1 + i * distance;
		assert_int_equal(dp_table_reserve(&table, i + 1), 0);
		dp_table_add(&table, &grants[i]);
	}
	print_message("# numbers at distance %llu: %u grants in a place\n",
		      (unsigned long long)distance, longest_place(&table));
	assert_true(longest_place(&table) <= LONGEST);
	for (uint32_t i = 0; i < GRANTS; i += 3)
		dp_table_remove(&table, &grants[i]);
	for (uint32_t i = 0; i < GRANTS; i++)
		assert_ptr_equal(dp_table_find(&table, grants[i].key.id),
				 i % 3 ? &grants[i] : NULL);
	for (uint32_t i = 0; i < GRANTS; i++)
		if (i % 3)
			dp_table_remove(&table, &grants[i]);
	assert_int_equal(longest_place(&table), 0);
	dp_table_destroy(&table);
}

/* With 64 attachments that make grants in turn, the numbers of each are 64 apart. */
static void grants_with_numbers_at_any_distance_are_spread(void **state)
{
	(void)state;
	for (uint64_t distance = 1; distance <= 65536; distance *= 4)
		fill_and_empty(distance);
	fill_and_empty(20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(grants_with_numbers_at_any_distance_are_spread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
