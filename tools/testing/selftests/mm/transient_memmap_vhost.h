/* SPDX-License-Identifier: GPL-2.0 */
/* What the rows of vhost share: queues in memory without a memmap */
#ifndef _TRANSIENT_MEMMAP_VHOST_H
#define _TRANSIENT_MEMMAP_VHOST_H

#include <linux/virtio_ring.h>
#include <sys/uio.h>

#include "transient_memmap_users.h"

#define RING	64
#define QUEUES	3

/* Rings come first in the area. */
#define RINGS_LEN	(256 * KB)

struct queue {
	struct vring ring;
	int kick, call;
	uint16_t seen;	/* of the used ring */
};

/*
 * A guest's address is @iova and the offset in the area. If @iova is not 0, vhost
 * is told of the rings by such addresses as well, and else by those of the program.
 */
struct vdev {
	int fd;
	uint64_t iova;
	struct area *a;
	struct queue queues[QUEUES];
};

/* These return 0, or -1 with errno set. */
int set_features(struct vdev *dev, uint64_t wanted);
int set_queue(struct vdev *dev, unsigned int index);

/* Gives a chain of buffers to the other side: the first @nr_out it reads only. */
void queue_post(struct vdev *dev, unsigned int index, const struct iovec *iov,
		int nr_out, int nr);

/* The bytes written to the next chain that comes back; or -1 after 20 seconds */
long queue_wait(struct vdev *dev, unsigned int index);

#endif /* _TRANSIENT_MEMMAP_VHOST_H */
