/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every system call and the clock, behind functions that a simulation can replace. All
 * return -errno on failure.
 */
#ifndef DP_OS_H
#define DP_OS_H

#include <sys/stat.h>
#include "util/util.h"

/* Files. dir is AT_FDCWD or a directory's descriptor. */
int dp_os_open(int dir, const char *name, int flags, unsigned int mode);
void dp_os_close(int fd);
int dp_os_stat(const char *path, struct stat *ret_stat);
/* Does not follow a symbolic link. */
int dp_os_lstat(int dir, const char *name, struct stat *ret_stat);
int dp_os_fstat(int fd, struct stat *ret_stat);

/* What distinguishes a file from its copies. Generation and birth time exist if the
 * filesystem has them. */
struct dp_os_file_id {
	uint64_t inode;
	bool has_generation;
	bool has_birth;
	uint32_t generation;
	uint32_t birth_ns;
	int64_t birth_seconds;
};

int dp_os_file_id(int fd, struct dp_os_file_id *ret_id);
int dp_os_mkdir(const char *path, unsigned int mode);
int dp_os_unlink(int dir, const char *name);
int dp_os_rename(int dir, const char *from, const char *to);
int dp_os_rmdir(const char *path);
int dp_os_fsync(int fd);
/* Write back all data of the file's filesystem, stores through mappings included. */
int dp_os_syncfs(int fd);
int dp_os_truncate(int fd, uint64_t size);
/* fallocate(2) as it is: -EINTR at a signal. May wait for pins. */
int dp_os_fallocate(int fd, int mode, uint64_t offset, uint64_t length);
int dp_os_readlink(const char *path, char *buffer, size_t size);
/* Write all `size` bytes at the file's position. */
int dp_os_write(int fd, const void *from, uint64_t size);
/* Read a file from its position on into a string, at most size - 1 bytes. Returns the
 * length. */
int dp_os_read_text(int fd, char *buffer, size_t size);
int dp_os_read_file(const char *path, char *buffer, size_t size);
/* Names in a directory; stops when fn returns non-zero. */
int dp_os_list(int dir, int (*fn)(const char *name, void *arg), void *arg);
/* The magic number of its filesystem. That of 9p is the one of the server's filesystem,
 * so ask dp_os_has_handles() of file_at.h too. */
int dp_os_filesystem(int fd, uint64_t *ret_magic);
/*
 * Is the file at path the kernel's own, on a filesystem of that magic number?
 * 1: yes. 0: another filesystem, something is mounted over it, or this kernel
 * cannot tell (before 5.8). A directory above it may be another mount of the same
 * kind of filesystem.
 */
int dp_os_is_genuine(const char *path, uint64_t magic);
/* The free space of the file's filesystem that this process may use, without regard to
 * quotas. UINT64_MAX: the filesystem reports no limit. */
int dp_os_free_space(int fd, uint64_t *ret_bytes);
/* 1: the kernel reports that the file is DAX. */
int dp_os_is_dax(int fd);
/* XFS: is the file's data on the realtime device? */
bool dp_os_is_realtime(int fd);
/* 1: a file or directory is marked as not to be defragmented (FS_XFLAG_NODEFRAG). */
int dp_os_nodefrag(int fd);
/* Set that mark and leave the other flags unchanged. After a return of 0 the mark may
 * still be missing: ext4 does not store it. */
int dp_os_set_nodefrag(int fd);
/* Set the time of a file's last change to now. */
int dp_os_touch(int fd);

/* One stretch of a file that has backing store. */
struct dp_os_extent {
	uint64_t offset;
	uint64_t length;
	uint64_t physical;
	bool shared;			/* with another file */
};

/* Extents by FIEMAP, unwritten ones included; fn as in dp_os_list(). */
int dp_os_fiemap(int fd, int (*fn)(const struct dp_os_extent *extent, void *arg),
		 void *arg);
/* The same by SEEK_DATA, which skips space that was allocated but never written
 * (kernel.md K19). On tmpfs it finds all that daxpin has allocated, because daxpin
 * populates those pages. What it skips reads as zeroes. */
int dp_os_seek_data(int fd, uint64_t size,
		    int (*fn)(const struct dp_os_extent *extent, void *arg),
		    void *arg);

/* Locks. */
int dp_os_flock(int fd, int operation);
int dp_os_byte_lock(int fd, bool write);
/* The pid of the process that has locked the byte. 0: the byte is not locked. -1: the
 * process has no pid in this namespace. Below -1: -errno. */
int dp_os_byte_owner(int fd);
/* If this process closes any descriptor of the inode, the kernel unlocks the byte, too
 * (claim.c). */
void dp_os_byte_unlock(int fd);
/* Two connected AF_UNIX sockets, which never wait. */
int dp_os_socketpair(int ret_fd[2]);
/* Put `count` descriptors, at most 253, into the queue of the socket's other end. */
int dp_os_send_descriptors(int socket, const int *fd, uint32_t count);
int dp_os_pid(void);
/* The user that this process acts as. */
uint32_t dp_os_user(void);
/* How many descriptors this process may have: RLIMIT_NOFILE. */
uint64_t dp_os_descriptor_limit(void);
/* How large its files may become, RLIMIT_FSIZE, how much memory it may lock,
 * RLIMIT_MEMLOCK, and map, RLIMIT_AS; UINT64_MAX: no limit. */
enum dp_limit { DP_LIMIT_FILE_SIZE, DP_LIMIT_LOCKED, DP_LIMIT_MAPPED };
uint64_t dp_os_limit(enum dp_limit which);

/* Netlink: a socket; a request; the reply, -EMSGSIZE if it does not fit, -EAGAIN if
 * the kernel sends nothing for a second. */
int dp_os_netlink(int protocol);
int dp_os_netlink_send(int fd, const void *message, size_t size);
int dp_os_netlink_receive(int fd, void *buffer, size_t size);

/* io_uring, for ring.c: its system calls, and the mapping of a ring's region. */
struct io_uring_params;
int dp_os_ring_setup(uint32_t entries, struct io_uring_params *params);
int dp_os_ring_map(int fd, uint64_t region, uint64_t size, void **ret_base);
int dp_os_ring_register(int fd, uint32_t what, void *with, uint32_t count);
/* Submit `submit` requests, then wait for one completion for at most wait_ns. Returns
 * the number of requests that the kernel has taken. */
int dp_os_ring_enter(int fd, uint32_t submit, uint32_t flags, uint64_t wait_ns);

/* Memory. */
int dp_os_map(void *at, uint64_t size, int protection, int flags, int fd,
	      void **ret_base);
void dp_os_unmap(void *base, uint64_t size);
/* Map zeroed memory for this process alone: in a forked child it is zeroed again. */
int dp_os_map_for_process(uint64_t size, void **ret_base);
/* Advise on the pages that the range is in: all of these pages get the advice. */
int dp_os_advise(void *from, uint64_t size, int advice);
/* Write the pages that the range is in. */
int dp_os_msync(const void *from, uint64_t size);
/* Copy from a mapping; poison that the kernel knows is -EIO, not SIGBUS. */
int dp_os_copy_checked(void *to, const void *from, uint64_t size);
/* The same by a pipe that was made earlier, for callers that must not fail because no
 * descriptor is free. One thread at a time. */
int dp_os_pipe(int ret_fd[2]);
int dp_os_copy_by_pipe(const int fd[2], void *to, const void *from,
		       uint64_t size);
/*
 * Read as much of a file as possible without waiting for its lock or a disk: *ret_done
 * bytes, perhaps none. -EIO: the read reached poison, and *ret_done was not written.
 */
int dp_os_read_nowait(int fd, uint64_t offset, void *to, uint64_t size,
		      uint64_t *ret_done);

/* Time, randomness, threads. */
uint64_t dp_os_now_ns(void);
uint64_t dp_os_now_coarse_ns(void);
void dp_os_sleep_ns(uint64_t ns);	/* not a cancellation point; a signal ends it */
int dp_os_random(void *to, size_t size);	/* up to 256 bytes */
/*
 * Can dp_os_membarrier() be called by this process? It takes milliseconds the first
 * time, and does not change later unless a seccomp filter is installed.
 */
bool dp_os_has_membarrier(void);
/* When it returns true, each thread of the process has made a full fence meanwhile. */
bool dp_os_membarrier(void);
int dp_os_futex_wait(const void *word, uint32_t value, uint64_t deadline_ns);
void dp_os_futex_wake(const void *word);
int dp_os_eventfd(void);
void dp_os_eventfd_signal(int fd);

#endif
