/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The descriptor of a grant: daxpin_grant_export() writes the same bytes on every
 * machine, and daxpin_grant_import() accepts no other bytes.
 */
#include "fixture.h"
#include "verbs_fake.h"

/* Written by hand from docs/format.md, independently of the code under test. */
static const unsigned char fixed[DAXPIN_GRANT_DESCRIPTOR_SIZE] = {
	'D', 'A', 'X', 'G', 'R', 'A', 'N', 'T',
	0x01, 0x00, 0x60, 0x00, 0x06, 0x00, 0x00, 0x00,
	0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,
	0x00, 0x00, 0x04, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x20, 0x10, 0x00, 0x00, 0x00, 0x00,
	0x05, 0x00, 0x00, 0x00, 0x00, 0x03, 0x00, 0x00,
	0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7,
	0xa8, 0xa9, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf,
	0xef, 0xbe, 0xad, 0xde, 0x00, 0x00, 0x00, 0x00,
	0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01, 0x00,
	0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x9a, 0x30, 0xdb, 0x88,
};

static void a_descriptor_written_by_hand_decodes_as_documented(void **state)
{
	struct daxpin_grant_key key;

	(void)state;
	assert_int_equal(daxpin_grant_import(fixed, sizeof(fixed), &key), 0);
	assert_int_equal(key.addr, 0x1122334455667788);
	assert_int_equal(key.length, 256 << 10);
	assert_int_equal(key.rkey, 0xdeadbeef);
	assert_int_equal(key.access, IBV_ACCESS_REMOTE_READ |
				     IBV_ACCESS_REMOTE_WRITE);
	assert_int_equal(key.extent.addr, 0x10200000);
	assert_int_equal(key.extent.gen, UINT64_C(3) << 40 | 5);
	assert_memory_equal(key.uuid, fixed + 48, 16);
	assert_int_equal(key.id, 0x0001020304050607);
	assert_int_equal(key.offset, 4096);
}

/* Each byte is changed to all 255 other values, and the output is never written. */
static void import_refuses_a_descriptor_in_which_any_byte_was_changed(void **state)
{
	unsigned char bytes[sizeof(fixed)];
	struct daxpin_grant_key key, before;
	int err;

	(void)state;
	memset(&before, 0x5a, sizeof(before));
	memcpy(&key, &before, sizeof(key));
	for (size_t at = 0; at < sizeof(fixed); at++)
		for (unsigned int flip = 1; flip < 256; flip++) {
			memcpy(bytes, fixed, sizeof(bytes));
			bytes[at] ^= (unsigned char)flip;
			err = daxpin_grant_import(bytes, sizeof(bytes), &key);
			assert_int_equal(err, at < 8 ? -EINVAL :
					 at < 10 ? -EPROTONOSUPPORT : -EBADMSG);
		}
	assert_memory_equal(&key, &before, sizeof(key));
}

static void import_refuses_a_truncated_descriptor(void **state)
{
	unsigned char longer[sizeof(fixed) + 8] = { 0 };
	struct daxpin_grant_key key;

	(void)state;
	for (size_t size = 0; size < sizeof(fixed); size++)
		assert_int_equal(daxpin_grant_import(fixed, size, &key),
				 -EINVAL);
	assert_int_equal(daxpin_grant_import(NULL, sizeof(fixed), &key),
			 -EINVAL);
	assert_int_equal(daxpin_grant_import(fixed, sizeof(fixed), NULL),
			 -EINVAL);
	memcpy(longer, fixed, sizeof(fixed));
	assert_int_equal(daxpin_grant_import(longer, sizeof(longer), &key), 0);
}

static uint32_t crc32c(const unsigned char *bytes, size_t length)
{
	uint32_t crc = ~0u;

	while (length--) {
		crc ^= *bytes++;
		for (int i = 0; i < 8; i++)
			crc = crc & 1 ? crc >> 1 ^ 0x82f63b78 : crc >> 1;
	}
	return ~crc;
}

/* Imports a descriptor with one field changed and a valid checksum. */
static int import_with(size_t at, uint64_t value, size_t size)
{
	unsigned char bytes[sizeof(fixed)];
	struct daxpin_grant_key key;
	uint32_t crc;

	memcpy(bytes, fixed, sizeof(bytes));
	for (size_t i = 0; i < size; i++)
		bytes[at + i] = (unsigned char)(value >> 8 * i);
	crc = crc32c(bytes, 92);
	for (size_t i = 0; i < 4; i++)
		bytes[92 + i] = (unsigned char)(crc >> 8 * i);
	return daxpin_grant_import(bytes, sizeof(bytes), &key);
}

static void import_refuses_fields_with_impossible_values(void **state)
{
	(void)state;
	assert_int_equal(import_with(12, 6, 4), 0);
	assert_int_equal(import_with(12, 14, 4), 0);
	assert_int_equal(import_with(12, 0, 4), -EINVAL);
	assert_int_equal(import_with(12, 1, 4), -EINVAL);
	assert_int_equal(import_with(12, 16 | 2, 4), -EINVAL);
	assert_int_equal(import_with(10, 95, 2), -EINVAL);
	assert_int_equal(import_with(24, 0, 8), -EINVAL);
	assert_int_equal(import_with(24, UINT64_MAX, 8), -EINVAL);
	assert_int_equal(import_with(72, 0, 8), -EINVAL);
	assert_int_equal(import_with(80, UINT64_MAX - (256 << 10) + 1, 8),
			 -EINVAL);
	/*
	 * These fields are reserved: a later version that uses them has another number.
	 */
	assert_int_equal(import_with(68, 1, 4), -EINVAL);
	assert_int_equal(import_with(88, 1, 4), -EINVAL);
	assert_int_equal(import_with(16, UINT64_MAX - (256 << 10), 8), 0);
	assert_int_equal(import_with(16, UINT64_MAX - (256 << 10) + 1, 8),
			 -EINVAL);
}

static int setup(void **state)
{
	fake_reset();
	return fixture_setup_sized(state, 64 << 20);
}

static void an_exported_grant_imports_to_the_same_key(void **state)
{
	struct fixture *f = *state;
	struct daxpin_grant_options options = {
		.size = sizeof(options),
		.access = IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_RELAXED_ORDERING,
	};
	unsigned char bytes[DAXPIN_GRANT_DESCRIPTOR_SIZE + 1];
	struct daxpin_grant_key key, other;
	struct daxpin_extent extent;
	struct daxpin_grant *grant;
	struct daxpin_rdma *rdma;

	assert_int_equal(daxpin_rdma_attach(f->pool, &fake_pd, NULL, &rdma), 0);
	assert_int_equal(daxpin_reserve(f->pool, 12288, 0, &extent), 0);
	assert_int_equal(daxpin_rdma_grant(rdma, extent, &options, &grant), 0);
	assert_int_equal(daxpin_grant_export(grant, bytes, 95), -EINVAL);
	assert_int_equal(daxpin_grant_export(grant, NULL, 96), -EINVAL);
	assert_int_equal(daxpin_grant_export(NULL, bytes, 96), -EINVAL);
	bytes[96] = 0x5a;
	assert_int_equal(daxpin_grant_export(grant, bytes, sizeof(bytes)), 96);
	assert_int_equal(bytes[96], 0x5a);
	assert_int_equal(daxpin_grant_import(bytes, 96, &other), 0);
	daxpin_grant_key(grant, &key);
	assert_int_equal(key.rkey, 0x8000);
	assert_int_equal(key.length, 12288);
	assert_int_equal(key.access, IBV_ACCESS_REMOTE_WRITE);
	assert_memory_equal(&key, &other, sizeof(key));
	assert_int_equal(daxpin_rdma_revoke(grant), 0);
	assert_int_equal(daxpin_rdma_detach(rdma), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_descriptor_written_by_hand_decodes_as_documented),
		cmocka_unit_test(
			import_refuses_a_descriptor_in_which_any_byte_was_changed),
		cmocka_unit_test(import_refuses_a_truncated_descriptor),
		cmocka_unit_test(import_refuses_fields_with_impossible_values),
		cmocka_unit_test_setup_teardown(
			an_exported_grant_imports_to_the_same_key, setup,
			fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
