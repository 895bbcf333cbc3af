/* SPDX-License-Identifier: BSD-3-Clause */
#include "util/util.h"

static size_t versioned_size(const void *versioned)
{
	size_t size;

	memcpy(&size, versioned, sizeof(size));
	return size;
}

int dp_copy_versioned(void *to, size_t size, const void *from)
{
	const unsigned char *bytes = from;
	size_t from_size;

	assert(to && from && size >= sizeof(size_t));
	from_size = versioned_size(from);
	if (from_size < sizeof(size_t))
		return -EINVAL;
	for (size_t i = size; i < from_size; i++)
		if (bytes[i])
			return -E2BIG;
	memcpy(to, from, dp_min(size, from_size));
	return 0;
}

int dp_return_versioned(void *ret_to, const void *from, size_t size)
{
	const size_t begin = sizeof(size_t);
	size_t to_size;

	assert(from && size >= begin);
	to_size = ret_to ? versioned_size(ret_to) : 0;
	if (to_size < begin)
		return -EINVAL;
	memcpy((char *)ret_to + begin, (const char *)from + begin,
	       dp_min(size, to_size) - begin);
	return 0;
}

int dp_take_options(void *to, size_t size, const void *from, size_t errmsg_at)
{
	int ret = dp_copy_versioned(to, size, from);
	const char *owner = ret ? from : to;
	struct dp_errmsg errmsg;

	/* After -EINVAL it is unknown which fields `from` has. After -E2BIG it is
	 * larger than `to`, so it has these fields. */
	if (ret == -EINVAL)
		return ret;
	memcpy(&errmsg.text, owner + errmsg_at, sizeof(errmsg.text));
	memcpy(&errmsg.size, owner + errmsg_at + sizeof(errmsg.text),
	       sizeof(errmsg.size));
	dp_clear_errmsg(&errmsg);
	if (ret)
		dp_fail(&errmsg, ret,
			"the options have a field that this version does not know, and it is not 0: use a newer daxpin, or zero it");
	return ret;
}
