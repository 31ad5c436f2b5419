"""e10's checks against answers that nobody planted: right ones in other styles pass, wrong ones are told a reason."""

# ruff: noqa: E501  (the answers are as their authors left them)

import pytest

from minigen.course.manifest import course
from minigen.course.mistakes import Mistake
from minigen.course.verdict import Task, judge

RIGHT = [
    (
        "mask",
        """
        m = np.zeros(kernel, bool)
        r, c = kernel[0]//2, kernel[1]//2
        m[:r] = True
        m[r, :c] = True
        m[r, c] = kind == 'B'
        return m
    """,
    ),
    (
        "mask",
        """
        flat = np.arange(kernel[0]*kernel[1]).reshape(kernel)
        mid = flat[kernel[0]//2, kernel[1]//2]
        return flat < mid + (kind == 'B')
    """,
    ),
    (
        "cell",
        """
        n=c.shape[1]
        o=ops.sigmoid(a[:, :n])
        f=ops.sigmoid(a[:, n:2*n])
        i=ops.sigmoid(a[:, 2*n:3*n])
        g=ops.tanh(a[:, 3*n:4*n])
        new=f*c+i*g
        return [o*ops.tanh(new), new]
    """,
    ),
    (
        "cell",
        """
        n=c.shape[1]
        s=ops.sigmoid(a[:, :3*n])
        o,f,i=s[:, :n],s[:, n:2*n],s[:, 2*n:]
        c=f*c+i*(2.0*ops.sigmoid(2.0*a[:, 3*n:])-1.0)
        return o*ops.tanh(c), c
    """,
    ),
    (
        "row_step",
        """
        k=W_h.shape[3]
        wide=ops.pad(h,width=((0,0),(0,0),(0,0),(k//2,k//2)))
        return cell(ops.conv2d(wide,W_h)+a_x,c)
    """,
    ),
    (
        "row_step",
        """
        k=W_h.shape[3]//2
        W=h.shape[3]
        wide=ops.pad(h,width=((0,0),(0,0),(0,0),(k,k)))
        a=a_x
        for t in range(2*k+1):
            part=wide[:,:,0,t:t+W]
            a=a+ops.expand_dims(ops.matmul(W_h[:,:,0,t],part),axis=2)
        return cell(a,c)
    """,
    ),
    (
        "RowLSTM.__call__",
        """
        k, (N,_,H,W) = self.W_x.shape[3], x.shape
        m=xp.asarray(mask((1,k),'B').astype(self.W_x.dtype))
        a_x=ops.conv2d(x,self.W_x*m,self.b,padding=(0,k//2))
        h,c=initial(self.h0,N,1,W),initial(self.c0,N,1,W)
        out=[]
        for r in range(H):
            h,c=row_step(a_x[:,:,r:r+1],h,c,self.W_h)
            out.append(h[:,:,0])
        return ops.stack(*out,axis=2)
    """,
    ),
    ("RowLSTM.__call__", """return nn.RowLSTM.__call__(self, x)"""),
    (
        "RowLSTM.__call__",
        """
        k, (N,_,H,W) = self.W_x.shape[3], x.shape
        h,c=initial(self.h0,N,1,W),initial(self.c0,N,1,W)
        ys=None
        for r in range(H):
            a=ops.conv2d(x[:,:,r:r+1],self.W_x,self.b,padding=(0,k//2),taps=mask((1,k),'B'))
            h,c=row_step(a,h,c,self.W_h)
            ys=h if ys is None else ops.concatenate(ys,h,axis=2)
        return ys
    """,
    ),
    (
        "skew",
        """
        N,C,H,W=x.shape
        wide=ops.pad(x,width=((0,0),(0,0),(0,0),(0,H)))
        return ops.reshape(ops.reshape(wide,shape=(N,C,H*(W+H)))[:,:,:H*(W+H-1)],shape=(N,C,H,W+H-1))
    """,
    ),
    (
        "skew",
        """
        N,C,H,W=x.shape
        if not isinstance(x,Tensor):
            out=xp.zeros((N,C,H,H+W-1),x.dtype)
            for i in range(H):
                out[:,:,i,i:i+W]=x[:,:,i]
            return out
        return ops.stack(*[ops.pad(x[:,:,i],width=((0,0),(0,0),(i,H-1-i))) for i in range(H)],axis=2)
    """,
    ),
    (
        "unskew",
        """
        N,C,H,V=x.shape
        return ops.stack(*[x[:,:,i,i:i+V-H+1] for i in range(H)],axis=2)
    """,
    ),
    (
        "unskew",
        """
        N,C,H,V=x.shape
        line=ops.pad(ops.reshape(x,shape=(N,C,H*V)),width=((0,0),(0,0),(0,H)))
        return ops.reshape(line,shape=(N,C,H,V+1))[:,:,:,:V+1-H]
    """,
    ),
    ("diagonal_step", """return cell(a_x + ops.conv2d(h, W_h, padding=(1,0))[:,:,:-1], c)"""),
    (
        "diagonal_step",
        """
        up=ops.pad(h[:,:,:-1],width=((0,0),(0,0),(1,0),(0,0)))
        return cell(a_x+ops.conv2d(up,W_h[:,:,:1])+ops.conv2d(h,W_h[:,:,1:]),c)
    """,
    ),
    (
        "one_direction",
        """
        N,_,H,W=x.shape
        a_x=skew(ops.conv2d(x,W_x,b))
        h,c=initial(h0,N,H,1),initial(c0,N,H,1)
        cols=[]
        for t in range(H+W-1):
            m=xp.asarray((np.arange(H)<=t)[:,None].astype('float64'))
            nh,nc=diagonal_step(a_x[:,:,:,t:t+1],h,c,W_h)
            h,c=nh*m+h*(1-m),nc*m+c*(1-m)
            cols.append(h)
        return unskew(ops.concatenate(*cols,axis=3))
    """,
    ),
    (
        "one_direction",
        """
        N,_,H,W=x.shape
        n=h0.shape[0]
        a=ops.conv2d(x,W_x,b)
        hs={}
        cs={}
        for i in range(H):
            for j in range(W):
                hl=hs[i,j-1] if j else initial(h0,N,1,1)
                cl=cs[i,j-1] if j else initial(c0,N,1,1)
                z=a[:,:,i:i+1,j:j+1]+ops.conv2d(hl,W_h[:,:,1:])
                if i:
                    z=z+ops.conv2d(hs[i-1,j],W_h[:,:,:1])
                hs[i,j],cs[i,j]=cell(z,cl)
        return ops.concatenate(*[ops.concatenate(*[hs[i,j] for j in range(W)],axis=3) for i in range(H)],axis=2)
    """,
    ),
    ("shift_down", """return ops.concatenate(y[:,:,:1]*0.0, y[:,:,:-1], axis=2)"""),
    ("shift_down", """return ops.pad(y, width=((0,0),(0,0),(1,0),(0,0)))[:,:,:-1]"""),
    (
        "DiagonalBiLSTM.__call__",
        """
        f=lambda z,d: one_direction(z, self.h0[d], self.c0[d], self.W_x[d], self.W_h[d], self.b[d])
        return f(x,0)+ops.flip(shift_down(f(ops.flip(x,axis=3),1)),axis=3)
    """,
    ),
    ("DiagonalBiLSTM.__call__", """return nn.DiagonalBiLSTM.__call__(self, x)"""),
    (
        "RecurrentBlock.__call__",
        """
        out=self.lstm(y)
        out=self.up(out)
        return ops.add(out, y)
    """,
    ),
    (
        "PixelRNN.logits",
        """
        if x.ndim==3:
            x=x[:,None]
        y=self.first(x)
        for b in self.blocks:
            y=b(y)
        a,b=self.head
        y=b(ops.relu(a(ops.relu(y))))
        return y.reshape(y.shape[0],y.shape[1],1,y.shape[2],y.shape[3])
    """,
    ),
    (
        "PixelRNN.log_prob",
        """
        x=as_maps(x)
        l=self.logits(x)
        K=self.config.levels
        if K==2:
            return -ops.bce_with_logits(l[:,0],x).sum(axis=(1,2,3))
        k=xp.rint(raw(x)*(K-1)).astype('int64')
        hot=(xp.arange(K)[:,None,None,None]==k[:,None]).astype('float64')
        return (ops.log_softmax(l,axis=1)*hot).sum(axis=(1,2,3,4))
    """,
    ),
    ("PixelRNN.updates", """return [(self, -ops.mean(self.log_prob(batch)))]"""),
    (
        "PixelRNN.updates",
        """
        x=self.prepare(xp.asarray(raw(batch)),rng)
        yield self, self.log_prob(x).mean()*-1.0
    """,
    ),
    (
        "PixelRNN.draw",
        """
        u=rng.random(x.shape)
        n,_,H,W=x.shape
        with no_grad():
            for p in range(first_row*W,H*W):
                i,j=divmod(p,W)
                l=self.logits(Tensor(x)).numpy()[:,:,0,i,j]
                if self.config.levels==2:
                    x[:,0,i,j]=(u[:,0,i,j]<1/(1+np.exp(-l[:,0]))).astype(x.dtype)
                else:
                    e=np.exp(l-l.max(1,keepdims=True))
                    e/=e.sum(1,keepdims=True)
                    x[:,0,i,j]=np.minimum((e.cumsum(1)<=u[:,0,i,j,None]).sum(1),self.config.levels-1)/(self.config.levels-1)
        return x
    """,
    ),
]

WRONG = [
    (
        "mask",
        """
        m = np.zeros(kernel, bool)
        m[:kernel[0]//2] = True
        return m
    """,
    ),
    (
        "mask",
        """
        m = np.ones(kernel, bool)
        m[kernel[0]//2, kernel[1]//2 + (kind=='B'):] = False
        return m
    """,
    ),
    (
        "mask",
        """
        m = np.tri(*kernel, dtype=bool)
        return m
    """,
    ),
    ("mask", """return np.ones(kernel, bool)"""),
    (
        "mask",
        """
        m = np.zeros(kernel, np.float32)
        m[:kernel[0]//2] = 1
        m[kernel[0]//2, :kernel[1]//2 + (kind=='B')] = 1
        return m
    """,
    ),
    (
        "mask",
        """
        k = kernel[0]
        m = np.zeros((k, k), bool)
        m[:k//2] = True
        m[k//2, :k//2 + (kind=='B')] = True
        return m
    """,
    ),
    (
        "cell",
        """
        n = c.shape[1]
        o, f, i = (ops.sigmoid(a[:, k*n:(k+1)*n]) for k in range(3))
        return o * ops.tanh(f*c + i*ops.tanh(a[:, 3*n:])), f*c
    """,
    ),
    (
        "cell",
        """
        n = c.shape[1]
        o, f, i, g = (ops.tanh(a[:, k*n:(k+1)*n]) for k in range(4))
        c = f*c + i*g
        return o*ops.tanh(c), c
    """,
    ),
    (
        "cell",
        """
        n = c.shape[1]
        o, f, i = (ops.sigmoid(a[:, k::4]) for k in range(3))
        c = f*c + i*ops.tanh(a[:, 3::4])
        return o*ops.tanh(c), c
    """,
    ),
    (
        "cell",
        """
        n = c.shape[1]
        o, f, i = (ops.sigmoid(a[:, k*n:(k+1)*n]) for k in range(3))
        c = (1.0 - i)*c + i*ops.tanh(a[:, 3*n:])
        return o*ops.tanh(c), c
    """,
    ),
    (
        "cell",
        """
        n = c.shape[1]
        o, f, i = (ops.sigmoid(a[:, k*n:(k+1)*n]) for k in range(3))
        c = f*c.detach() + i*ops.tanh(a[:, 3*n:])
        return o*ops.tanh(c), c
    """,
    ),
    ("row_step", """return cell(a_x + ops.conv2d(h, W_h, padding=(0, 1)), c)"""),
    ("row_step", """return cell(a_x + ops.conv2d(h, W_h, padding=(0, W_h.shape[3]//2)), h)"""),
    ("row_step", """return cell(ops.conv2d(h, W_h, padding=(0, W_h.shape[3]//2)) * a_x, c)"""),
    (
        "row_step",
        """return cell(a_x + ops.conv2d(h, W_h, padding=(0, W_h.shape[3]//2)) + ops.conv2d(c, W_h, padding=(0, W_h.shape[3]//2)), c)""",
    ),
    (
        "RowLSTM.__call__",
        """
        k, (N,_,H,W) = self.W_x.shape[3], x.shape
        a_x = ops.conv2d(x, self.W_x, padding=(0,k//2), taps=mask((1,k),'B'))
        h, c = initial(self.h0,N,1,W), initial(self.c0,N,1,W)
        rows=[]
        for r in range(H):
            h,c = row_step(a_x[:,:,r:r+1],h,c,self.W_h)
            rows.append(h)
        return ops.concatenate(*rows, axis=2)
    """,
    ),
    (
        "RowLSTM.__call__",
        """
        k, (N,_,H,W) = self.W_x.shape[3], x.shape
        a_x = ops.conv2d(x, self.W_x, self.b, padding=(0,k//2), taps=mask((1,k),'B'))
        h, c = initial(self.h0,N,1,W), initial(self.c0,N,1,W)
        rows=[]
        for r in range(H):
            h,c = row_step(a_x[:,:,r:r+1],h,c,self.W_h)
            rows.append(c)
        return ops.concatenate(*rows, axis=2)
    """,
    ),
    (
        "RowLSTM.__call__",
        """
        k, (N,_,H,W) = self.W_x.shape[3], x.shape
        a_x = ops.conv2d(x, self.W_x, self.b, padding=(0,k//2), taps=mask((1,k),'B'))
        h, c = initial(self.h0,N,1,W), initial(self.c0,N,1,W)
        rows=[]
        for r in range(H):
            rows.append(h)
            h,c = row_step(a_x[:,:,r:r+1],h,c,self.W_h)
        return ops.concatenate(*rows, axis=2)
    """,
    ),
    (
        "RowLSTM.__call__",
        """
        k, (N,_,H,W) = self.W_x.shape[3], x.shape
        a_x = ops.conv2d(x, self.W_x, self.b, padding=(0,k//2), taps=mask((1,k),'B'))
        h, c = initial(self.h0,N,1,W), initial(self.c0,N,1,W)
        rows=[]
        for r in range(H):
            h,c = row_step(a_x[:,:,r:r+1],h.detach(),c,self.W_h)
            rows.append(h)
        return ops.concatenate(*rows, axis=2)
    """,
    ),
    (
        "RowLSTM.__call__",
        """
        k, (N,_,H,W) = self.W_x.shape[3], x.shape
        a_x = ops.conv2d(x, self.W_x, self.b, padding=(0,k//2), taps=mask((1,k),'B'))
        h, c = initial(self.h0,1,1,W), initial(self.c0,1,1,W)
        rows=[]
        for n in range(N):
            mine=[]
            for r in range(H):
                h,c = row_step(a_x[n:n+1,:,r:r+1],h,c,self.W_h)
                mine.append(h)
            rows.append(ops.concatenate(*mine, axis=2))
        return ops.concatenate(*rows, axis=0)
    """,
    ),
    (
        "RowLSTM.__call__",
        """
        k, (N,_,H,W) = self.W_x.shape[3], x.shape
        self.W_x.data = self.W_x.data * mask((1,k),'A')
        a_x = ops.conv2d(x, self.W_x, self.b, padding=(0,k//2))
        h, c = initial(self.h0,N,1,W), initial(self.c0,N,1,W)
        rows=[]
        for r in range(H):
            h,c = row_step(a_x[:,:,r:r+1],h,c,self.W_h)
            rows.append(h)
        return ops.concatenate(*rows, axis=2)
    """,
    ),
    (
        "skew",
        """
        height=x.shape[2]
        rows=[ops.pad(x[:,:,i:i+1],width=((0,0),(0,0),(0,0),(i,x.shape[3]-1-i))) for i in range(height)]
        return ops.concatenate(*rows,axis=2)
    """,
    ),
    (
        "skew",
        """
        N,C,H,W=x.shape
        out=xp.zeros((N,C,H,H+W-1),'float32')
        for i in range(H):
            out[:,:,i,i:i+W]=x[:,:,i].data if isinstance(x,Tensor) else x[:,:,i]
        return out
    """,
    ),
    (
        "skew",
        """
        N,C,H,W=x.shape
        wide=ops.pad(x,width=((0,0),(0,0),(0,0),(0,H-1)))
        return ops.reshape(wide, shape=(N,C,H,H+W-1))
    """,
    ),
    (
        "unskew",
        """
        N,C,H,V=x.shape
        return x[:,:,:,H-1:]
    """,
    ),
    (
        "unskew",
        """
        h=x.shape[2]
        return ops.concatenate(*[x[:,:,i:i+1,i:i+h] for i in range(h)],axis=2)
    """,
    ),
    (
        "diagonal_step",
        """return cell(a_x + ops.conv2d(h, W_h, padding=(1,0))[:,:,:-1], c) if h.shape[2]>1 else cell(a_x, c)""",
    ),
    ("diagonal_step", """return cell(a_x + ops.conv2d(h, W_h, padding=(1,0))[:,:,1:], c)"""),
    (
        "diagonal_step",
        """
        above = ops.pad(h, width=((0,0),(0,0),(1,0),(0,0)))
        ca = ops.pad(c, width=((0,0),(0,0),(1,0),(0,0)))[:,:,:-1]
        return cell(a_x + ops.conv2d(above, W_h), (c+ca)*0.5)
    """,
    ),
    (
        "one_direction",
        """
        N,_,H,W=x.shape
        a_x=skew(ops.conv2d(x,W_x,b))
        h,c=initial(h0,N,H,1),initial(c0,N,H,1)
        cols=[]
        for t in range(H+W-1):
            begun=(xp.arange(H)<=t)[:,None]
            nh,nc=diagonal_step(a_x[:,:,:,t:t+1],h,c,W_h)
            h,c=ops.where(begun,nh,h),nc
            cols.append(h)
        return unskew(ops.concatenate(*cols,axis=3))
    """,
    ),
    (
        "one_direction",
        """
        N,_,H,W=x.shape
        a_x=ops.conv2d(skew(x),W_x,b)
        h,c=initial(h0,N,H,1),initial(c0,N,H,1)
        cols=[]
        for t in range(H+W-1):
            h,c=diagonal_step(a_x[:,:,:,t:t+1],h,c,W_h)
            cols.append(h)
        return unskew(ops.concatenate(*cols,axis=3))
    """,
    ),
    (
        "one_direction",
        """
        N,_,H,W=x.shape
        a_x=skew(ops.conv2d(x,W_x,b))
        h,c=initial(h0,N,H,1),initial(c0,N,H,1)
        cols=[]
        for t in range(2*H-1):
            begun=(xp.arange(H)<=t)[:,None]
            nh,nc=diagonal_step(a_x[:,:,:,t:t+1],h,c,W_h)
            h,c=ops.where(begun,nh,h),ops.where(begun,nc,c)
            cols.append(h)
        return unskew(ops.concatenate(*cols,axis=3))
    """,
    ),
    (
        "one_direction",
        """
        N,_,H,W=x.shape
        a_x=skew(ops.conv2d(x,W_x,b))
        h,c=initial(h0,N,H,1),initial(c0,N,H,1)
        cols=[]
        for t in range(H+W-1):
            begun=(xp.arange(H)<=t)[:,None]
            nh,nc=diagonal_step(a_x[:,:,:,t:t+1],h,c,W_h)
            h,c=ops.where(begun,nh,nh*0.0),ops.where(begun,nc,nc*0.0)
            cols.append(h)
        return unskew(ops.concatenate(*cols,axis=3))
    """,
    ),
    ("shift_down", """return ops.pad(y, width=((0,0),(0,0),(1,0),(0,0)))"""),
    ("shift_down", """return ops.pad(y[:,:,:,:-1], width=((0,0),(0,0),(0,0),(1,0)))"""),
    ("shift_down", """return y"""),
    (
        "DiagonalBiLSTM.__call__",
        """
        ps=self.h0,self.c0,self.W_x,self.W_h,self.b
        l,r=([p[d] for p in ps] for d in (0,1))
        return one_direction(x,*l)+ops.flip(one_direction(ops.flip(shift_down(x),axis=3),*r),axis=3)
    """,
    ),
    (
        "DiagonalBiLSTM.__call__",
        """
        ps=self.h0,self.c0,self.W_x,self.W_h,self.b
        l,r=([p[d] for p in ps] for d in (0,1))
        m=ops.flip(one_direction(ops.flip(x,axis=3),*r),axis=3)
        return shift_down(one_direction(x,*l))+shift_down(m)
    """,
    ),
    (
        "DiagonalBiLSTM.__call__",
        """
        ps=self.h0,self.c0,self.W_x,self.W_h,self.b
        l,r=([p[d] for p in ps] for d in (0,1))
        m=ops.flip(one_direction(ops.flip(x,axis=3),*r),axis=3)
        return shift_down(one_direction(x,*l))+m
    """,
    ),
    ("RecurrentBlock.__call__", """return y + ops.relu(self.up(self.lstm(y)))"""),
    ("RecurrentBlock.__call__", """return y * self.up(self.lstm(y))"""),
    ("RecurrentBlock.__call__", """return y.detach() + self.up(self.lstm(y))"""),
    (
        "PixelRNN.logits",
        """
        y=self.first(as_maps(x))
        for block in self.blocks:
            y=block(y)
        for layer in self.head:
            y=ops.relu(layer(y))
        return ops.expand_dims(y,axis=2)
    """,
    ),
    (
        "PixelRNN.logits",
        """
        y=self.first(as_maps(x))
        for block in self.blocks:
            y=ops.relu(block(y))
        for layer in self.head:
            y=layer(y)
        return ops.expand_dims(y,axis=2)
    """,
    ),
    (
        "PixelRNN.logits",
        """
        y=self.first(as_maps(x))
        for block in self.blocks:
            y=block(y)
        for layer in self.head:
            y=layer(ops.relu(y))
        return y
    """,
    ),
    (
        "PixelRNN.log_prob",
        """
        x=as_maps(x)
        l=self.logits(x).reshape(x.shape[0],-1)
        return -ops.sum(ops.bce_with_logits(l, x.reshape(x.shape[0],-1)),axis=1)
    """,
    ),
    (
        "PixelRNN.log_prob",
        """
        x=as_maps(x)
        l=self.logits(x)
        if self.config.levels==2:
            p=ops.sigmoid(l.reshape(*x.shape))
            return ops.sum(ops.log(p*x+(1.0-p)*(1.0-x)+1e-9).reshape(x.shape[0],-1),axis=1)
        k=xp.rint(raw(x)*(self.config.levels-1)).astype('int64')
        rows=ops.moveaxis(l,source=1,destination=-1).reshape(-1,self.config.levels)
        return -ops.sum(ops.cross_entropy(rows,labels=k.reshape(-1)).reshape(x.shape[0],-1),axis=1)
    """,
    ),
    ("PixelRNN.updates", """yield self, -self.log_prob(batch).sum()"""),
    ("PixelRNN.updates", """return [(self, -ops.mean(self.log_prob(batch)).data)]"""),
    ("PixelRNN.updates", """yield self.first, -ops.mean(self.log_prob(batch))"""),
    (
        "PixelRNN.draw",
        """
        u=xp.asarray(rng.random(x.shape))
        with no_grad():
            l=raw(self.logits(x))[:,:,0]
            x[:, :, first_row:]=(u<ops.sigmoid(l))[:, :, first_row:]
        return x
    """,
    ),
    (
        "PixelRNN.draw",
        """
        u=xp.asarray(rng.random(x.shape))
        x=x.copy()
        with no_grad():
            for i in range(first_row,x.shape[2]):
                for j in range(x.shape[3]):
                    now=raw(self.logits(x))[:,:,0,i,j]
                    if self.config.levels==2:
                        x[:,0,i,j]=u[:,0,i,j]<ops.sigmoid(now[:,0])
                    else:
                        x[:,0,i,j]=(xp.cumsum(ops.softmax(now,axis=1),axis=1)[:,:-1]<=u[:,0,i,j,None]).sum(axis=1)/(self.config.levels-1)
        return x
    """,
    ),
    (
        "PixelRNN.draw",
        """
        u=xp.asarray(rng.random(x.shape))
        with no_grad():
            for i in range(first_row,x.shape[2]):
                for j in range(x.shape[3]):
                    now=raw(self.logits(x))[:,:,0,i,j]
                    if self.config.levels==2:
                        x[:,0,i,j]=u[:,0,i,j]<ops.sigmoid(now[:,0])
                    else:
                        x[:,0,i,j]=(xp.cumsum(ops.softmax(now,axis=1),axis=1)<=u[:,0,i,j,None]).sum(axis=1)/self.config.levels
        return x
    """,
    ),
    (
        "PixelRNN.draw",
        """
        with no_grad():
            for i in range(first_row,x.shape[2]):
                for j in range(x.shape[3]):
                    now=raw(self.logits(x))[:,:,0,i,j]
                    x[:,0,i,j]=rng.random(len(x))<ops.sigmoid(now[:,0])
        return x
    """,
    ),
]


def judged(bank, stop_early):
    lesson, tasks = course().lesson("e10"), {}
    for n, (hole, body) in enumerate(bank):
        source = Mistake(str(n), hole, None, body, "").apply(lesson)
        tasks[f"{n}: {hole}"] = Task(lesson.exercise, source, (hole,))
    return judge(lesson, tasks, stop_early=stop_early)


def said(verdict):
    return verdict.refused or verdict.holes[0].message


@pytest.mark.timeout(400)
def test_right_answers_in_other_styles_pass():
    failed = [f"{key}: {said(one)}" for key, one in judged(RIGHT, stop_early=False).items() if one.exit_code]
    assert not failed, "\n".join(failed)


@pytest.mark.timeout(400)
def test_wrong_answers_nobody_planted_fail_with_a_reason():
    verdicts = judged(WRONG, stop_early=True)
    passed = [key for key, one in verdicts.items() if one.exit_code != 1 or not said(one)]
    assert not passed, "\n".join(passed)
