/* SPDX-License-Identifier: BSD-3-Clause */
/* Objects of libfabric: an endpoint with all that belongs to it, and regions. */
#ifndef DP_OFI_ENDPOINT_H
#define DP_OFI_ENDPOINT_H

#include <rdma/fabric.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <stdbool.h>
#include <stdint.h>
#include "util/util.h"

/* Zeroed: nothing is open. */
struct dp_endpoint {
	struct fid_domain *domain;
	struct fid_av *av;
	struct fid_cq *cq;
	struct fid_ep *ep;
};

/* What became of a request. The caller sets its context, and dp_endpoint_progress() the
 * rest when it reads the completion. */
struct dp_endpoint_result {
	const void *context;
	bool is_over;
	int error;		/* 0, or of the request: -errno */
};

/*
 * 0 or -errno. After an error dp_endpoint_is_open() is true if the provider refused to
 * close a part that was open: then the caller keeps the endpoint and closes it. If
 * errmsg is not NULL, and the provider names a device, all that the process registers
 * with the device must belong to one verbs context, or the result and the sentence are
 * those of dp_provider_check_context(). NULL is for memory that is in no pool.
 */
int dp_endpoint_open(struct dp_endpoint *endpoint, struct fid_fabric *fabric,
		     struct fi_info *info, const struct dp_errmsg *errmsg);
/* Write "PROVIDER WHAT: reason" about an error of dp_endpoint_open() or of libfabric to
 * errmsg, unless it has a sentence, and return the error. */
int dp_endpoint_fail(const struct dp_errmsg *errmsg, const struct fi_info *info,
		     int error, const char *what);
/* Close what is open. 0: all is closed. After an error the call can be repeated. */
int dp_endpoint_close(struct dp_endpoint *endpoint);
bool dp_endpoint_is_open(const struct dp_endpoint *endpoint);
/* Let the writer, of this process, address the target: *ret_to is its address. */
int dp_endpoint_name_target(struct dp_endpoint *writer, struct dp_endpoint *target,
			    fi_addr_t *ret_to);
/* Close the endpoint alone, and open another in its place, without connections. What it
 * had posted may still complete. After an error the caller closes it. */
int dp_endpoint_renew(struct dp_endpoint *endpoint, struct fi_info *info);
/* Make progress. result may be NULL. */
void dp_endpoint_progress(struct dp_endpoint *endpoint,
			  struct dp_endpoint_result *result);

/* Has the target of this request refused its key? On a connection that worked until
 * then, this is what EIO means, the errno of verbs. After any other error, such as
 * ECANCELED, the request may not have been carried out. */
bool dp_endpoint_refused_key(const struct dp_endpoint_result *result);

/* 0, or -errno and *ret_region is NULL: unless the provider refused to close what was
 * open of the region. Then the caller keeps the memory, and closes the region. */
int dp_region_open(struct dp_endpoint *endpoint, const struct fi_info *info,
		   const void *memory, uint64_t length, uint64_t access,
		   uint64_t key, struct fid_mr **ret_region);
int dp_region_close(struct fid_mr *region);

#endif
