/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Opens and closes the objects of libfabric. An endpoint has a domain of its own: a
 * key is valid in a whole domain, so if two endpoints shared one, a peer's access
 * could go on through the other endpoint after its own was closed. Nothing here takes
 * a lock: the caller lets one thread at a time use an endpoint.
 */
#include "ofi/endpoint.h"

#include <errno.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_errno.h>
#include <string.h>
#include "ofi/provider.h"

#define QUEUE_SIZE	64
#define READS_MAX	64
#define NAME_MAX_BYTES	512
#define SHM_PREFIX	"fi_shm://"

static int endpoint_bind(struct dp_endpoint *e)
{
	int ret = fi_ep_bind(e->ep, &e->av->fid, 0);

	if (!ret)
		ret = fi_ep_bind(e->ep, &e->cq->fid, FI_TRANSMIT | FI_RECV);
	return ret ? ret : fi_enable(e->ep);
}

static int endpoint_open_all(struct dp_endpoint *e, struct fid_fabric *fabric,
			     struct fi_info *info, const struct dp_errmsg *errmsg)
{
	struct fi_cq_attr cq = {
		.format = FI_CQ_FORMAT_CONTEXT, .size = QUEUE_SIZE,
	};
	struct fi_av_attr av = { .type = FI_AV_TABLE };
	int ret = fi_domain(fabric, info, &e->domain, NULL);

	/* From here on the domain's context is certain; no memory is in it yet. */
	if (!ret && errmsg && dp_provider_rdma_device(info))
		ret = dp_provider_check_context(info, errmsg);
	if (!ret)
		ret = fi_av_open(e->domain, &av, &e->av, NULL);
	if (!ret)
		ret = fi_cq_open(e->domain, &cq, &e->cq, NULL);
	if (!ret)
		ret = fi_endpoint(e->domain, info, &e->ep, NULL);
	return ret ? ret : endpoint_bind(e);
}

int dp_endpoint_open(struct dp_endpoint *endpoint, struct fid_fabric *fabric,
		     struct fi_info *info, const struct dp_errmsg *errmsg)
{
	int ret = endpoint_open_all(endpoint, fabric, info, errmsg);

	/* If the provider refuses this, the endpoint remains open (endpoint.h). */
	if (ret)
		(void)dp_endpoint_close(endpoint);
	return ret;
}

int dp_endpoint_fail(const struct dp_errmsg *errmsg, const struct fi_info *info,
		     int error, const char *what)
{
	if (errmsg->text && errmsg->size && errmsg->text[0])
		return error;
	return dp_fail(errmsg, error, "%s %s: %s", info->fabric_attr->prov_name, what,
		       fi_strerror(-error));
}

static int endpoint_close_one(struct fid *fid)
{
	return fid ? fi_close(fid) : 0;
}

#define CLOSE(endpoint, member) \
	do { \
		int close_ret = endpoint_close_one((endpoint)->member ? \
				&(endpoint)->member->fid : NULL); \
		if (close_ret) \
			return close_ret; \
		(endpoint)->member = NULL; \
	} while (0)

int dp_endpoint_close(struct dp_endpoint *endpoint)
{
	CLOSE(endpoint, ep);
	CLOSE(endpoint, cq);
	CLOSE(endpoint, av);
	CLOSE(endpoint, domain);
	return 0;
}

bool dp_endpoint_is_open(const struct dp_endpoint *endpoint)
{
	return endpoint->domain;
}

int dp_endpoint_renew(struct dp_endpoint *endpoint, struct fi_info *info)
{
	int ret;

	CLOSE(endpoint, ep);
	ret = fi_endpoint(endpoint->domain, info, &endpoint->ep, NULL);
	if (ret)
		endpoint->ep = NULL;
	return ret ? ret : endpoint_bind(endpoint);
}

/*
 * shm looks for the name of a peer in a list of this process's endpoints, and uses the
 * memory of the one that it finds. The close of the target unmaps that, and the next
 * read of its completion queue then ends the process with SIGSEGV (libfabric 2.1,
 * rdma.md R10). It does not find a name with one more slash, which shm_open() skips: so
 * the writer maps the target's file itself, as a peer in another process does.
 */
static void endpoint_hide_process(char name[NAME_MAX_BYTES])
{
	const size_t prefix = sizeof(SHM_PREFIX) - 1, length = strlen(name);

	if (strncmp(name, SHM_PREFIX, prefix) || length + 2 > NAME_MAX_BYTES)
		return;
	memmove(name + prefix + 1, name + prefix, length + 1 - prefix);
	name[prefix] = '/';
}

int dp_endpoint_name_target(struct dp_endpoint *writer, struct dp_endpoint *target,
			    fi_addr_t *ret_to)
{
	char name[NAME_MAX_BYTES] = "";
	size_t size = sizeof(name) - 1;
	int ret = fi_getname(&target->ep->fid, name, &size);

	if (ret)
		return ret;
	endpoint_hide_process(name);
	ret = fi_av_insert(writer->av, name, 1, ret_to, 0, NULL);
	return ret == 1 ? 0 : ret < 0 ? ret : -EIO;
}

static void endpoint_note(struct dp_endpoint_result *result, const void *context,
			  int error)
{
	if (!result || result->context != context)
		return;
	result->is_over = true;
	result->error = error;
}

void dp_endpoint_progress(struct dp_endpoint *endpoint,
			  struct dp_endpoint_result *result)
{
	struct fi_cq_err_entry error;
	struct fi_cq_entry entry;
	ssize_t count;

	if (!endpoint->ep)
		return;
	for (int reads = 0; reads < READS_MAX; reads++) {
		count = fi_cq_read(endpoint->cq, &entry, 1);
		if (count == 1) {
			endpoint_note(result, entry.op_context, 0);
			continue;
		}
		if (count != -FI_EAVAIL)
			return;
		error = (struct fi_cq_err_entry){ 0 };
		if (fi_cq_readerr(endpoint->cq, &error, 0) != 1)
			return;
		endpoint_note(result, error.op_context,
			      error.err ? -error.err : -EIO);
	}
}

bool dp_endpoint_refused_key(const struct dp_endpoint_result *result)
{
	const int error = -result->error;

	return result->is_over &&
	       (error == FI_EACCES || error == FI_EPERM || error == FI_EIO ||
		error == FI_EREMOTEIO || error == FI_EKEYREJECTED ||
		error == FI_ENOKEY);
}

int dp_region_open(struct dp_endpoint *endpoint, const struct fi_info *info,
		   const void *memory, uint64_t length, uint64_t access,
		   uint64_t key, struct fid_mr **ret_region)
{
	struct fid_mr *region;
	int ret = fi_mr_reg(endpoint->domain, memory, length, access, 0, key, 0,
			    &region, NULL);

	*ret_region = NULL;
	if (ret)
		return ret;
	if (info->domain_attr->mr_mode & FI_MR_ENDPOINT) {
		ret = fi_mr_bind(region, &endpoint->ep->fid, 0);
		if (!ret)
			ret = fi_mr_enable(region);
	}
	if (!ret || dp_region_close(region))
		*ret_region = region;
	return ret;
}

int dp_region_close(struct fid_mr *region)
{
	return fi_close(&region->fid);
}
