/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The beginning of a pool was wiped or overwritten (W15). Open, create and check report
 * what is left of it. Their messages do not recommend a call that would also fail, and
 * none of them destroys a byte unless the caller passes the overwrite flag.
 */
#include "findings.h"
#include "media.h"
#include "os/os.h"
#include "pool/remains.h"
#include <sys/mman.h>

#define PAYLOAD		"what was published"

enum fill { ZEROES, NOISE, TEXT };

/* The simulated number of verbs contexts on this machine. */
static int contexts;

int __wrap_dp_verbs_count_all(const struct dp_errmsg *errmsg);
int __wrap_dp_verbs_count_all(const struct dp_errmsg *errmsg)
{
	(void)errmsg;
	return contexts;
}

/* Makes a pool of one segment with an extent whose bytes are checked. */
static int setup_one_segment(void **state)
{
	struct daxpin_extent extent;
	struct fixture *f;

	contexts = 0;
	if (fixture_setup_sized(state, 32 * MIB))
		return -1;
	f = *state;
	extent = live(f, 64 * 1024);
	strcpy(daxpin_ptr(f->pool, extent, 0), PAYLOAD);
	close_pool(f);
	return 0;
}

static uint64_t noise;

static uint8_t next_noise(void)
{
	noise = noise * 6364136223846793005ull + 1442695040888963407ull;
	return noise >> 56;
}

/*
 * Fills with zeroes, with random-looking bytes, or with text as other programs write.
 */
static void wipe(struct fixture *f, uint32_t segment, uint64_t offset,
		 uint64_t size, enum fill fill)
{
	static const char text[] = "\x04\0\0\0\0\0\x04\0other \x02\x02\x02";
	char *bytes = calloc(1, size);

	assert_non_null(bytes);
	noise = offset + size;
	for (uint64_t i = 0; fill != ZEROES && i < size; i++)
		bytes[i] = fill == NOISE ? next_noise() :
					   text[i % sizeof(text)];
	patch(f, segment, offset, bytes, size);
	free(bytes);
}

/*
 * Asserts that open, create, and open with DAXPIN_POOL_CREATE fail with these words.
 * The message of open must not recommend a create and that of create must not recommend
 * an open, because both fail; both recommend a backup.
 */
static void assert_refused(struct fixture *f, int error, const char *words)
{
	char sentence[512];

	f->options.flags = 0;
	assert_open_fails(f, error, words);
	assert_says(f, "backup");
	assert_null(strstr(f->errmsg, "create"));
	assert_create_fails(f, -EEXIST, words);
	assert_says(f, "backup");
	assert_says(f, "to destroy it create with the overwrite flag");
	assert_null(strstr(f->errmsg, "open"));
	snprintf(sentence, sizeof(sentence), "%s", words);
	f->options.flags = DAXPIN_POOL_CREATE;
	assert_open_fails(f, error, sentence);
	f->options.flags = 0;
}

static void assert_check_finds(struct fixture *f, const char *words)
{
	struct findings found;

	check_pool(f, &found);
	assert_int_equal(found.summary.damages, 1);
	assert_non_null(strstr(found.what[0], words));
	assert_non_null(strstr(found.what[0], "backup"));
}

/* With the overwrite flag, create makes a new pool. */
static void assert_overwrites(struct fixture *f)
{
	f->options.flags = DAXPIN_POOL_OVERWRITE;
	create_pool(f);
	close_pool(f);
	f->options.flags = 0;
	open_pool(f);
}

static void assert_payload(struct fixture *f)
{
	char bytes[sizeof(PAYLOAD)];

	look(f, 0, 2 * MIB, bytes, sizeof(bytes));
	assert_string_equal(bytes, PAYLOAD);
}

/* ------------------------------------------------------------- one segment */

/* Nothing is lost, because the superblock and its copy are not both wiped. */
static void a_wiped_superblock_is_restored_from_its_copy(void **state)
{
	static const struct { uint64_t offset, size; } place[] = {
		{ 0, 512 }, { 0, 4096 }, { 1024, 1024 }, { 4096, 4096 },
		{ 0, DP_SUPER_SIZE }, { DP_COPY_OFFSET, DP_SUPER_SIZE },
		{ DP_COPY_OFFSET, 65536 },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(place) / sizeof(place[0]); i++)
		for (enum fill fill = ZEROES; fill <= TEXT; fill++) {
			wipe(f, 0, place[i].offset, place[i].size, fill);
			assert_create_fails(f, -EEXIST, "has a pool already");
			open_pool(f);
			close_pool(f);
			assert_payload(f);
		}
}

/*
 * More and more of the metadata after the superblock is wiped too. The copy is intact.
 */
static void wiped_metadata_before_an_intact_superblock_copy_is_damage(void **state)
{
	static const uint64_t size[] = {
		DP_PAGES_OFFSET + 4096, DP_ROOTS_OFFSET + 4096, DP_LANES_END,
		MIB, DP_COPY_OFFSET,
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(size) / sizeof(size[0]); i++)
		for (enum fill fill = ZEROES; fill <= TEXT; fill++) {
			wipe(f, 0, 0, size[i], fill);
			assert_open_fails(f, -EUCLEAN, "daxpin check");
			assert_null(strstr(f->errmsg, "create"));
			assert_create_fails(f, -EEXIST, "daxpin check");
			assert_payload(f);
		}
	assert_overwrites(f);
}

/* What remains of the metadata is a page of the descriptor table. */
static void open_create_and_check_recognize_a_descriptor_table(void **state)
{
	struct fixture *f = *state;

	for (enum fill fill = ZEROES; fill <= TEXT; fill++) {
		wipe(f, 0, 0, DP_TABLE_OFFSET, fill);
		wipe(f, 0, DP_COPY_OFFSET, DP_SUPER_SIZE, fill);
		assert_refused(f, -EUCLEAN, "at offset 0xf1000 of segment 0 it has a pattern that only the descriptor table");
		assert_check_finds(f, "descriptor table");
	}
	assert_payload(f);
	assert_overwrites(f);
}

/* What remains of the metadata is the redo lanes. */
static void open_create_and_check_recognize_redo_lanes(void **state)
{
	struct fixture *f = *state;

	for (enum fill fill = ZEROES; fill <= TEXT; fill++) {
		wipe(f, 0, 0, DP_LANES_OFFSET, fill);
		wipe(f, 0, DP_LANES_END, 2 * MIB - DP_LANES_END, fill);
		assert_refused(f, -EUCLEAN, "a pattern that only the redo lanes");
		assert_check_finds(f, "redo lanes");
	}
	assert_payload(f);
	assert_overwrites(f);
}

/*
 * All metadata is wiped. Whether there was a pool is unknown, but the file is not
 * blank.
 */
static void create_refuses_a_file_with_data_and_no_metadata(void **state)
{
	struct fixture *f = *state;

	wipe(f, 0, 0, 2 * MIB, ZEROES);
	assert_refused(f, -EMEDIUMTYPE,
		       "something else, at offset 0x200000 of segment 0; it may be the remains of a pool");
	wipe(f, 0, 0, 2 * MIB, NOISE);
	assert_refused(f, -EMEDIUMTYPE, "something else, at offset 0x0 of");
	wipe(f, 0, 0, 2 * MIB, TEXT);
	assert_refused(f, -EMEDIUMTYPE, "something else, at offset 0x0 of");
	assert_payload(f);
	assert_overwrites(f);
}

/* The only byte is the last of the segment. */
static void create_reads_up_to_the_last_byte(void **state)
{
	struct fixture *f = *state;

	wipe(f, 0, 0, 32 * MIB, ZEROES);
	wipe(f, 0, 32 * MIB - 1, 1, NOISE);
	assert_refused(f, -EMEDIUMTYPE, "at offset 0x1ffffff of segment 0");
	wipe(f, 0, 32 * MIB - 1, 1, ZEROES);
	assert_open_fails(f, -EMEDIUMTYPE, "create one");
	create_pool(f);
}

/* The wiped record may have named any verbs context: W9. */
static void overwriting_remains_waits_for_all_rdma(void **state)
{
	struct fixture *f = *state;

	wipe(f, 0, 0, 2 * MIB, ZEROES);
	f->options.flags = DAXPIN_POOL_OVERWRITE;
	contexts = 3;
	assert_create_fails(f, -EBUSY, "any of the 3 on this machine");
	wipe(f, 0, 0, 2 * MIB, NOISE);
	assert_create_fails(f, -EBUSY, "any of the 3 on this machine");
	assert_payload(f);
	f->options.flags |= DAXPIN_POOL_DESPITE_RDMA;
	create_pool(f);
}

/*
 * Fills a MiB with 64-bit numbers, as other programs store them. Each of them could be
 * a descriptor word if only one was looked at.
 */
static void fill_words(struct fixture *f, uint64_t first, uint64_t step)
{
	uint64_t *word = calloc(1, MIB);

	for (uint64_t i = 0; i < MIB / sizeof(*word); i++)
		word[i] = first + i * step;
	patch(f, 0, MIB, word, MIB);
	free(word);
}

static void an_array_of_numbers_is_not_taken_for_a_descriptor_table(void **state)
{
	static const struct { uint64_t first, step; } words[] = {
		{ 0x40000, 0 }, { 0x80000, 0 }, { 0xc0000, 0 }, { 0x80000, 1 },
		{ 0x0404040404040404, 0 }, { 0x80000, 0x40000 },
		{ UINT64_MAX, 0 },
	};
	struct fixture *f = *state;

	wipe(f, 0, 0, 2 * MIB, ZEROES);
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		fill_words(f, words[i].first, words[i].step);
		assert_refused(f, -EMEDIUMTYPE, "something else, at offset 0x");
	}
}

/* ----------------------------------------------------------- many segments */

/* Three segments, with an extent that contains zeroes. */
static int setup_three_segments(void **state)
{
	contexts = 0;
	if (fixture_setup_sized(state, 96 * MIB))
		return -1;
	live(*state, 64 * 1024);
	close_pool(*state);
	return 0;
}

static void create_reads_every_segment(void **state)
{
	struct fixture *f = *state;

	patch(f, 2, 20 * MIB + 7, PAYLOAD, sizeof(PAYLOAD));
	for (uint32_t i = 0; i < 3; i++)
		wipe(f, i, 0, 2 * MIB, ZEROES);
	assert_refused(f, -EMEDIUMTYPE, "at offset 0x1400007 of segment 2");
	f->options.pool_size = 32 * MIB;	/* of another segment */
	assert_refused(f, -EMEDIUMTYPE, "at offset 0x1400007 of segment 2");
	wipe(f, 2, 20 * MIB, MIB, ZEROES);
	f->options.pool_size = 96 * MIB;
	create_pool(f);
}

/* The first segment has random bytes. */
static void a_superblock_in_a_later_segment_shows_that_a_pool_existed(void **state)
{
	struct fixture *f = *state;

	wipe(f, 0, 0, 2 * MIB, NOISE);
	assert_refused(f, -EUCLEAN, "segment 1 has one");
	wipe(f, 1, DP_SUPER_OFFSET, DP_SUPER_SIZE, ZEROES);
	assert_refused(f, -EUCLEAN, "segment 1 has one");	/* the copy */
	wipe(f, 1, DP_COPY_OFFSET, DP_SUPER_SIZE, ZEROES);
	assert_refused(f, -EUCLEAN, "segment 2 has one");
	wipe(f, 2, 0, 2 * MIB, TEXT);
	assert_refused(f, -EMEDIUMTYPE, "something else, at offset 0x0 of");
}

/* A segment that cannot be read does not count as blank. */
static void a_segment_that_cannot_be_opened_is_not_blank(void **state)
{
	struct fixture *f = *state;
	char path[128];

	wipe(f, 0, 0, 2 * MIB, ZEROES);
	segment_path(f, 1, path);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_open_fails(f, -EMEDIUMTYPE, "segment.0001 is a FIFO");
	assert_create_fails(f, -EMEDIUMTYPE, "segment.0001 is a FIFO");
}

/* ------------------------------------------------------------------ device */

/* A file in place of a device, larger than the largest segment. */
#define DEVICE_SIZE	(DP_SEGMENT_SIZE_MAX + 96 * MIB)

static struct dp_remains look_at_device(int fd)
{
	static const struct dp_badblocks none;
	struct dp_source source = {
		.kind = DP_SOURCE_DEVDAX, .dir = -1, .path = (char *)"/dev/dax9.9",
		.device_size = DEVICE_SIZE,
	};
	const struct dp_remains_place place = {
		.source = &source, .badblocks = &none, .first = fd };
	struct dp_remains remains;
	char sentence[400] = "";

	assert_int_equal(dp_remains_find(&place, &remains, NULL), 0);
	if (!remains.kind)
		return remains;
	dp_remains_fail(&source, &remains, -EUCLEAN, "",
			&(struct dp_errmsg) { sentence, sizeof(sentence) });
	assert_non_null(strstr(sentence, "/dev/dax9.9"));
	assert_non_null(strstr(sentence, "backup"));
	return remains;
}

static void put(int fd, uint64_t offset, const void *bytes, size_t size)
{
	assert_int_equal(pwrite(fd, bytes, size, offset), size);
}

static void punch_bytes(int fd, uint64_t offset, uint64_t size)
{
	assert_int_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE |
				   FALLOC_FL_KEEP_SIZE, offset, size), 0);
}

static void assert_found(int fd, enum dp_remains_kind kind, uint64_t offset)
{
	struct dp_remains remains = look_at_device(fd);

	assert_int_equal(remains.kind, kind);
	if (kind)
		assert_int_equal(remains.offset, offset);
}

/*
 * The test adds remains one after the other. The search must always report those which
 * are the strongest evidence of a pool: a superblock, a table, lanes, other bytes.
 */
static void a_device_is_searched_at_the_offsets_of_each_segment_size(void **state)
{
	const uint64_t far = DP_SEGMENT_SIZE_MAX + 64 * MIB;
	struct fixture *f = *state;
	char *chunk = malloc(2 * MIB);
	int fd = memfd_create("device", MFD_CLOEXEC);

	assert_int_equal(ftruncate(fd, DEVICE_SIZE), 0);
	assert_found(fd, DP_REMAINS_NONE, 0);
	put(fd, far + 2 * MIB + 100, PAYLOAD, sizeof(PAYLOAD));
	assert_found(fd, DP_REMAINS_BYTES, far + 2 * MIB + 100);
	put(fd, DP_SEGMENT_SIZE_MAX - 1, "x", 1);
	assert_found(fd, DP_REMAINS_BYTES, DP_SEGMENT_SIZE_MAX - 1);
	look(f, 0, 0, chunk, 2 * MIB);
	put(fd, DP_LANES_OFFSET, chunk + DP_LANES_OFFSET,
	    DP_LANES_END - DP_LANES_OFFSET);
	assert_found(fd, DP_REMAINS_LANES, DP_LANES_OFFSET);
	/* In a segment of 1 GiB the table has a chunk of its own, at this offset. */
	put(fd, 3 * MIB, chunk + 0xf1000, 4096);
	assert_found(fd, DP_REMAINS_TABLE, 3 * MIB);
	put(fd, 0xf1000, chunk + 0xf1000, 4096);
	assert_found(fd, DP_REMAINS_TABLE, 0xf1000);
	look(f, 1, 0, chunk, 2 * MIB);
	put(fd, far + DP_COPY_OFFSET, chunk + DP_COPY_OFFSET, DP_SUPER_SIZE);
	assert_found(fd, DP_REMAINS_SUPER, far);
	put(fd, 32 * MIB, chunk, DP_SUPER_SIZE);
	assert_found(fd, DP_REMAINS_SUPER, 32 * MIB);
	punch_bytes(fd, 0, DEVICE_SIZE);
	/* Metadata at an offset where no segment begins, as in an extent. */
	put(fd, 34 * MIB, chunk, 2 * MIB);
	assert_found(fd, DP_REMAINS_BYTES, 34 * MIB);
	close(fd);
	free(chunk);
}

struct reports {
	unsigned int times;
	struct dp_wait last;
	bool stop;
};

static int note_report(const struct dp_wait *wait, void *arg)
{
	struct reports *reports = arg;

	assert_true(wait->done_bytes >= reports->last.done_bytes);
	reports->last = *wait;
	reports->times++;
	return reports->stop;
}

/* A search of a terabyte takes seconds, so it reports progress and can be ended. */
static void a_search_of_a_device_reports_progress_and_can_be_ended(void **state)
{
	static const struct dp_badblocks none;
	struct dp_source source = {
		.kind = DP_SOURCE_DEVDAX, .dir = -1, .path = (char *)"/dev/dax9.9",
		.device_size = DEVICE_SIZE,
	};
	struct reports reports = { .stop = true };
	struct dp_wait_policy policy = {
		.progress = note_report, .arg = &reports, .deadline_ns = UINT64_MAX };
	const struct dp_remains_place place = {
		.source = &source, .badblocks = &none, .policy = &policy,
		.first = memfd_create("device", MFD_CLOEXEC) };
	struct dp_remains remains = { .kind = DP_REMAINS_NONE };
	char sentence[400] = "";
	struct dp_errmsg errmsg = { sentence, sizeof(sentence) };

	(void)state;
	assert_int_equal(ftruncate(place.first, DEVICE_SIZE), 0);
	put(place.first, 40 * MIB, "x", 1);
	dp_wait_begin(&policy);
	assert_int_equal(dp_remains_find(&place, &remains, &errmsg), -ECANCELED);
	assert_non_null(strstr(sentence, "gave up when 2 of 1120 MiB"));
	assert_int_equal(remains.kind, DP_REMAINS_NONE);
	assert_int_equal(reports.times, 1);
	assert_int_equal(reports.last.owner, DP_OWNER_NONE);
	assert_int_equal(reports.last.total_bytes, DEVICE_SIZE);
	reports.stop = false;
	dp_wait_begin(&policy);
	assert_int_equal(dp_remains_find(&place, &remains, &errmsg), 0);
	assert_int_equal(remains.offset, 40 * MIB);
	/*
	 * The clock decides how often progress is reported. The deadline is checked
	 * each time.
	 */
	policy.deadline_ns = policy.begin_ns + 1;
	assert_int_equal(dp_remains_find(&place, &remains, &errmsg), -ETIMEDOUT);
	assert_non_null(strstr(sentence, "the deadline passed when 2 of"));
	close(place.first);
}

/*
 * A bad block cannot be read. It does not make a device count as in use, except where
 * create would put metadata.
 */
static void bad_blocks_of_a_blank_device_count_only_in_the_metadata(void **state)
{
	struct dp_badblocks_run run[] = { { 0x5000, 0x6000 },
				    { 40 * MIB, 40 * MIB + 4096 } };
	struct dp_badblocks bad = { run + 1, 1, false };
	struct dp_source source = {
		.kind = DP_SOURCE_DEVDAX, .dir = -1, .path = (char *)"/dev/dax9.9",
		.device_size = DEVICE_SIZE,
	};
	struct dp_remains_place place = { .source = &source,
					  .badblocks = &bad };
	struct dp_remains remains;

	(void)state;
	place.first = memfd_create("device", MFD_CLOEXEC);
	assert_int_equal(ftruncate(place.first, DEVICE_SIZE), 0);
	assert_int_equal(dp_remains_find(&place, &remains, NULL), 0);
	assert_int_equal(remains.kind, DP_REMAINS_NONE);
	put(place.first, 40 * MIB + 4096, "x", 1);
	assert_int_equal(dp_remains_find(&place, &remains, NULL), 0);
	assert_int_equal(remains.offset, 40 * MIB + 4096);
	bad = (struct dp_badblocks) { run, 2, false };	/* adds one in the metadata */
	assert_int_equal(dp_remains_find(&place, &remains, NULL), 0);
	assert_int_equal(remains.offset, 0x5000);
	close(place.first);
}

#define TEST(name, setup) \
	cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_wiped_superblock_is_restored_from_its_copy, setup_one_segment),
		TEST(wiped_metadata_before_an_intact_superblock_copy_is_damage,
		     setup_one_segment),
		TEST(open_create_and_check_recognize_a_descriptor_table,
		     setup_one_segment),
		TEST(open_create_and_check_recognize_redo_lanes, setup_one_segment),
		TEST(create_refuses_a_file_with_data_and_no_metadata,
		     setup_one_segment),
		TEST(create_reads_up_to_the_last_byte, setup_one_segment),
		TEST(overwriting_remains_waits_for_all_rdma, setup_one_segment),
		TEST(an_array_of_numbers_is_not_taken_for_a_descriptor_table,
		     setup_one_segment),
		TEST(create_reads_every_segment, setup_three_segments),
		TEST(a_superblock_in_a_later_segment_shows_that_a_pool_existed,
		     setup_three_segments),
		TEST(a_segment_that_cannot_be_opened_is_not_blank,
		     setup_three_segments),
		TEST(a_device_is_searched_at_the_offsets_of_each_segment_size,
		     setup_three_segments),
		TEST(bad_blocks_of_a_blank_device_count_only_in_the_metadata,
		     setup_three_segments),
		TEST(a_search_of_a_device_reports_progress_and_can_be_ended,
		     setup_three_segments),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
