/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * media_peer [fsdax|devdax]: the library beside libpmem2, on shmem or on the medium
 * that DAXPIN_TEST_FSDAX or DAXPIN_TEST_DAX names. Both choose the same granularity,
 * execute the same instructions to write lines back and to wait, and make the same
 * bytes.
 */
#include "fixture.h"
#include "shm.h"

#ifndef HAVE_LIBPMEM2
int main(void)
{
	printf("1..0 # SKIP libpmem2 was not installed when this was built; Debian has it in libpmem2-dev\n");
	return 0;
}
#else

#include <fcntl.h>
#include <libpmem2.h>
#include <sys/mman.h>
#include "media/persist.h"
#include "steps.h"

#define MIB	(1ull << 20)
#define LINE	DP_CACHE_LINE
#define SIZE	(256u << 10)
#define BYTE	DP_GRANULARITY_BYTE
#define CACHE_LINE	DP_GRANULARITY_CACHE_LINE
#define PAGE	DP_GRANULARITY_PAGE

enum place { SHMEM, FSDAX, DEVDAX };

static const enum pmem2_granularity as_libpmem2[] = {
	[BYTE] = PMEM2_GRANULARITY_BYTE,
	[CACHE_LINE] = PMEM2_GRANULARITY_CACHE_LINE,
	[PAGE] = PMEM2_GRANULARITY_PAGE,
};
static enum place place;
static char directory[256], file[300];	/* the pool, and its first file */

/* --------------------------------------------------- memory with a mapping */

struct peer {
	char *ours, *theirs;		/* each SIZE bytes */
	struct dp_persist persist;
	struct pmem2_map *map;		/* of theirs */
};

static char source[SIZE];
static struct steps our_steps, their_steps;

static void *map_memory(int *ret_fd)
{
	void *base;

	*ret_fd = memfd_create("peer", MFD_CLOEXEC);
	assert_true(*ret_fd >= 0);
	assert_int_equal(ftruncate(*ret_fd, SIZE), 0);
	base = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, *ret_fd, 0);
	assert_ptr_not_equal(base, MAP_FAILED);
	return base;
}

static struct peer peer_begin(enum dp_granularity granularity)
{
	struct pmem2_source *from;
	struct peer peer;
	int fd;

	peer.ours = map_memory(&fd);
	close(fd);
	peer.theirs = map_memory(&fd);
	assert_int_equal(dp_persist_init(&peer.persist, granularity, NULL), 0);
	assert_int_equal(pmem2_source_from_fd(&from, fd), 0);
	assert_int_equal(pmem2_map_from_existing(&peer.map, from, peer.theirs, SIZE,
						 as_libpmem2[granularity]), 0);
	pmem2_source_delete(&from);
	close(fd);
	return peer;
}

static void peer_end(struct peer *peer)
{
	pmem2_map_delete(&peer->map);
	munmap(peer->ours, SIZE);
	munmap(peer->theirs, SIZE);
}

/* ----------------------------------------------------------- instructions */

static void expect_same_steps(struct peer *peer, uint32_t at, uint64_t size)
{
	steps_begin(&our_steps);
	dp_persist_flush(&peer->persist, peer->ours + at, size);
	dp_persist_fence(&peer->persist);
	steps_end();
	steps_begin(&their_steps);
	pmem2_get_flush_fn(peer->map)(peer->theirs + at, size);
	pmem2_get_drain_fn(peer->map)();
	steps_end();
	assert_int_equal(our_steps.count, their_steps.count);
	for (uint32_t i = 0; i < our_steps.count; i++) {
		const struct step *ours = &our_steps.step[i];
		const struct step *theirs = &their_steps.step[i];

		assert_int_equal(ours->kind, theirs->kind);
		if (ours->kind != STEP_FENCE)
			assert_int_equal(ours->at - (uintptr_t)peer->ours,
					 theirs->at - (uintptr_t)peer->theirs);
	}
}

static void libpmem2_executes_the_same_instructions(void **state)
{
	(void)state;
	if (!steps_possible())
		skip();
	for (enum dp_granularity g = BYTE; g < PAGE; g++) {
		struct peer peer = peer_begin(g);

		for (uint32_t at = 0; at < LINE; at += 7)
			for (uint64_t size = 1; size < 5 * LINE; size += 13)
				expect_same_steps(&peer, at, size);
		expect_same_steps(&peer, 1, 4096);
		peer_end(&peer);
	}
}

/* ------------------------------------------------------------------ bytes */

static void expect_same_bytes(struct peer *peer, uint32_t at, uint64_t size)
{
	const char *from = source + (at * 5 + size) % LINE;

	dp_persist_copy_past(&peer->persist, peer->ours + at, from, size);
	dp_persist_fence(&peer->persist);
	pmem2_get_memcpy_fn(peer->map)(peer->theirs + at, from, size,
				       PMEM2_F_MEM_NONTEMPORAL);
	assert_memory_equal(peer->ours, peer->theirs, at + size + 2 * LINE);
	dp_persist_wipe(&peer->persist, peer->ours + at, size / 2);
	pmem2_get_memset_fn(peer->map)(peer->theirs + at, 0, size / 2,
				       PMEM2_F_MEM_NONTEMPORAL);
	assert_memory_equal(peer->ours, peer->theirs, at + size + 2 * LINE);
}

static void libpmem2_makes_the_same_bytes(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < SIZE; i++)
		source[i] = (char)(i * 2654435761u >> 24);
	for (enum dp_granularity g = BYTE; g < PAGE; g++) {
		struct peer peer = peer_begin(g);

		for (uint32_t at = 0; at < LINE; at++)
			for (uint64_t size = 1; size <= 300; size++)
				expect_same_bytes(&peer, LINE + at, size);
		expect_same_bytes(&peer, 1, 128 << 10);
		peer_end(&peer);
	}
}

/* ------------------------------------------------------------ granularity */

/* What libpmem2 finds out when it maps the file. */
static enum pmem2_granularity of_libpmem2(void)
{
	struct pmem2_config *config;
	enum pmem2_granularity found;
	struct pmem2_source *from;
	struct pmem2_map *map;
	int fd = open(file, O_RDWR | O_CLOEXEC), ret;

	assert_true(fd >= 0);
	assert_int_equal(pmem2_source_from_fd(&from, fd), 0);
	assert_int_equal(pmem2_config_new(&config), 0);
	assert_int_equal(pmem2_config_set_required_store_granularity(config,
				PMEM2_GRANULARITY_PAGE), 0);
	ret = pmem2_map_new(&map, config, from);
	if (ret)
		fail_msg("libpmem2: %s", pmem2_errormsg());
	found = pmem2_map_get_store_granularity(map);
	pmem2_map_delete(&map);
	pmem2_config_delete(&config);
	pmem2_source_delete(&from);
	close(fd);
	return found;
}

static void remove_pool(void)
{
	if (place != DEVDAX)
		nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* What a pool at the place has. Its first file remains until remove_pool(). */
static enum dp_granularity of_pool(uint32_t wanted)
{
	char errmsg[512];
	struct fixture f = {
		.options = {
			.size = sizeof(f.options), .granularity = wanted,
			.flags = place == DEVDAX ? DAXPIN_POOL_OVERWRITE : 0,
			.pool_size = place == DEVDAX ? 0 : 64 * MIB,
			.segment_size = 32 * MIB,
			.errmsg = errmsg, .errmsg_size = sizeof(errmsg),
		},
	};
	enum dp_granularity granularity;
	int ret;

	if (place != DEVDAX)
		assert_int_equal(mkdir(directory, 0700), 0);
	ret = daxpin_pool_create(place == DEVDAX ? file : directory, &f.options,
				 &f.pool);
	if (ret)
		fail_msg("create: %d, %s", ret, errmsg);
	granularity = pool_info(&f).granularity;
	assert_int_equal(daxpin_pool_close(f.pool), 0);
	return granularity;
}

static void libpmem2_chooses_the_same_granularity(void **state)
{
	enum dp_granularity granularity = of_pool(DAXPIN_GRANULARITY_AUTO);

	(void)state;
	assert_int_equal(granularity, place == SHMEM ? PAGE : CACHE_LINE);
	assert_int_equal(of_libpmem2(), as_libpmem2[granularity]);
	remove_pool();
}

static void libpmem2_has_the_same_granularities_on_request(void **state)
{
	static const char *const name[] = { "", "BYTE", "CACHE_LINE", "PAGE" };
	enum dp_granularity last = place == DEVDAX ? CACHE_LINE : PAGE;

	(void)state;
	for (enum dp_granularity g = BYTE; g <= last; g++) {
		enum dp_granularity granularity = of_pool(g);

		assert_int_equal(granularity, g);
		setenv("PMEM2_FORCE_GRANULARITY", name[g], 1);
		assert_int_equal(of_libpmem2(), as_libpmem2[granularity]);
		unsetenv("PMEM2_FORCE_GRANULARITY");
		remove_pool();
	}
}

/* The library has no environment variables: that of libpmem2 changes nothing. */
static void a_variable_of_libpmem2_changes_nothing(void **state)
{
	enum dp_granularity before = of_pool(DAXPIN_GRANULARITY_AUTO);

	(void)state;
	remove_pool();
	setenv("PMEM2_FORCE_GRANULARITY", "BYTE", 1);
	assert_int_equal(of_pool(DAXPIN_GRANULARITY_AUTO), before);
	unsetenv("PMEM2_FORCE_GRANULARITY");
	remove_pool();
}

/* ------------------------------------------------------------------------ */

static bool find_place(int argc, char **argv)
{
	const char *name = shm_directory();

	if (argc > 1) {
		place = strcmp(argv[1], "devdax") ? FSDAX : DEVDAX;
		name = getenv(place == DEVDAX ? "DAXPIN_TEST_DAX" :
						"DAXPIN_TEST_FSDAX");
	}
	if (!name)
		return false;
	snprintf(directory, sizeof(directory), "%.200s/peer-%d", name, getpid());
	snprintf(file, sizeof(file), place == DEVDAX ? "%s" : "%s/segment.0000",
		 place == DEVDAX ? name : directory);
	return true;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(libpmem2_executes_the_same_instructions),
		cmocka_unit_test(libpmem2_makes_the_same_bytes),
		cmocka_unit_test(libpmem2_chooses_the_same_granularity),
		cmocka_unit_test(libpmem2_has_the_same_granularities_on_request),
		cmocka_unit_test(a_variable_of_libpmem2_changes_nothing),
	};

	if (!find_place(argc, argv)) {
		printf("1..0 # SKIP neither DAXPIN_TEST_DAX nor DAXPIN_TEST_FSDAX names a place\n");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
