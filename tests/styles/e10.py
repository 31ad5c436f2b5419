"""e10, the PixelRNN: answers in other styles that must pass, and wrong ones that nobody planted."""

# ruff: noqa: E501  (the answers are as their authors left them)

RIGHT = {
    "mask": {
        "by_rows": """
            m = np.zeros(kernel, bool)
            r, c = kernel[0]//2, kernel[1]//2
            m[:r] = True
            m[r, :c] = True
            m[r, c] = kind == 'B'
            return m
        """,
        "by_order": """
            flat = np.arange(kernel[0]*kernel[1]).reshape(kernel)
            mid = flat[kernel[0]//2, kernel[1]//2]
            return flat < mid + (kind == 'B')
        """,
    },
    "cell": {
        "one_gate_at_a_time": """
            n=c.shape[1]
            o=ops.sigmoid(a[:, :n])
            f=ops.sigmoid(a[:, n:2*n])
            i=ops.sigmoid(a[:, 2*n:3*n])
            g=ops.tanh(a[:, 3*n:4*n])
            new=f*c+i*g
            return [o*ops.tanh(new), new]
        """,
        "tanh_from_sigmoid": """
            n=c.shape[1]
            s=ops.sigmoid(a[:, :3*n])
            o,f,i=s[:, :n],s[:, n:2*n],s[:, 2*n:]
            c=f*c+i*(2.0*ops.sigmoid(2.0*a[:, 3*n:])-1.0)
            return o*ops.tanh(c), c
        """,
    },
    "row_step": {
        "padded_first": """
            k=W_h.shape[3]
            wide=ops.pad(h,width=((0,0),(0,0),(0,0),(k//2,k//2)))
            return cell(ops.conv2d(wide,W_h)+a_x,c)
        """,
        "tap_by_tap": """
            k=W_h.shape[3]//2
            W=h.shape[3]
            wide=ops.pad(h,width=((0,0),(0,0),(0,0),(k,k)))
            a=a_x
            for t in range(2*k+1):
                part=wide[:,:,0,t:t+W]
                a=a+ops.expand_dims(ops.matmul(W_h[:,:,0,t],part),axis=2)
            return cell(a,c)
        """,
    },
    "RowLSTM.__call__": {
        "masked_weights": """
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
        "the_engines": "return nn.RowLSTM.__call__(self, x)",
        "row_by_row": """
            k, (N,_,H,W) = self.W_x.shape[3], x.shape
            h,c=initial(self.h0,N,1,W),initial(self.c0,N,1,W)
            ys=None
            for r in range(H):
                a=ops.conv2d(x[:,:,r:r+1],self.W_x,self.b,padding=(0,k//2),taps=mask((1,k),'B'))
                h,c=row_step(a,h,c,self.W_h)
                ys=h if ys is None else ops.concatenate(ys,h,axis=2)
            return ys
        """,
    },
    "skew": {
        "by_reshape": """
            N,C,H,W=x.shape
            wide=ops.pad(x,width=((0,0),(0,0),(0,0),(0,H)))
            return ops.reshape(ops.reshape(wide,shape=(N,C,H*(W+H)))[:,:,:H*(W+H-1)],shape=(N,C,H,W+H-1))
        """,
        "stacked_rows": """
            N,C,H,W=x.shape
            if not isinstance(x,Tensor):
                out=xp.zeros((N,C,H,H+W-1),x.dtype)
                for i in range(H):
                    out[:,:,i,i:i+W]=x[:,:,i]
                return out
            return ops.stack(*[ops.pad(x[:,:,i],width=((0,0),(0,0),(i,H-1-i))) for i in range(H)],axis=2)
        """,
    },
    "unskew": {
        "stacked_rows": """
            N,C,H,V=x.shape
            return ops.stack(*[x[:,:,i,i:i+V-H+1] for i in range(H)],axis=2)
        """,
        "by_reshape": """
            N,C,H,V=x.shape
            line=ops.pad(ops.reshape(x,shape=(N,C,H*V)),width=((0,0),(0,0),(0,H)))
            return ops.reshape(line,shape=(N,C,H,V+1))[:,:,:,:V+1-H]
        """,
    },
    "diagonal_step": {
        "padded": "return cell(a_x + ops.conv2d(h, W_h, padding=(1,0))[:,:,:-1], c)",
        "two_taps": """
            up=ops.pad(h[:,:,:-1],width=((0,0),(0,0),(1,0),(0,0)))
            return cell(a_x+ops.conv2d(up,W_h[:,:,:1])+ops.conv2d(h,W_h[:,:,1:]),c)
        """,
    },
    "one_direction": {
        "mask_of_numbers": """
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
        "pixel_by_pixel": """
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
    },
    "shift_down": {
        "concatenated": "return ops.concatenate(y[:,:,:1]*0.0, y[:,:,:-1], axis=2)",
        "padded": "return ops.pad(y, width=((0,0),(0,0),(1,0),(0,0)))[:,:,:-1]",
    },
    "DiagonalBiLSTM.__call__": {
        "one_function": """
            f=lambda z,d: one_direction(z, self.h0[d], self.c0[d], self.W_x[d], self.W_h[d], self.b[d])
            return f(x,0)+ops.flip(shift_down(f(ops.flip(x,axis=3),1)),axis=3)
        """,
        "the_engines": "return nn.DiagonalBiLSTM.__call__(self, x)",
    },
    "RecurrentBlock.__call__": {
        "stepwise": """
            out=self.lstm(y)
            out=self.up(out)
            return ops.add(out, y)
        """,
    },
    "PixelRNN.logits": {
        "reshaped": """
            if x.ndim==3:
                x=x[:,None]
            y=self.first(x)
            for b in self.blocks:
                y=b(y)
            a,b=self.head
            y=b(ops.relu(a(ops.relu(y))))
            return y.reshape(y.shape[0],y.shape[1],1,y.shape[2],y.shape[3])
        """,
    },
    "PixelRNN.log_prob": {
        "one_hot": """
            x=as_maps(x)
            l=self.logits(x)
            K=self.config.levels
            if K==2:
                return -ops.bce_with_logits(l[:,0],x).sum(axis=(1,2,3))
            k=xp.rint(raw(x)*(K-1)).astype('int64')
            hot=(xp.arange(K)[:,None,None,None]==k[:,None]).astype('float64')
            return (ops.log_softmax(l,axis=1)*hot).sum(axis=(1,2,3,4))
        """,
    },
    "PixelRNN.updates": {
        "list": "return [(self, -ops.mean(self.log_prob(batch)))]",
        "prepared_again": """
            x=self.prepare(xp.asarray(raw(batch)),rng)
            yield self, self.log_prob(x).mean()*-1.0
        """,
    },
    "PixelRNN.draw": {
        "numbers_first": """
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
    },
}

WRONG = {
    "mask": {
        "rows_above_only": """
            m = np.zeros(kernel, bool)
            m[:kernel[0]//2] = True
            return m
        """,
        "right_half_below": """
            m = np.ones(kernel, bool)
            m[kernel[0]//2, kernel[1]//2 + (kind=='B'):] = False
            return m
        """,
        "triangle": """
            m = np.tri(*kernel, dtype=bool)
            return m
        """,
        "everything": "return np.ones(kernel, bool)",
        "numbers": """
            m = np.zeros(kernel, np.float32)
            m[:kernel[0]//2] = 1
            m[kernel[0]//2, :kernel[1]//2 + (kind=='B')] = 1
            return m
        """,
        "square_kernel": """
            k = kernel[0]
            m = np.zeros((k, k), bool)
            m[:k//2] = True
            m[k//2, :k//2 + (kind=='B')] = True
            return m
        """,
    },
    "cell": {
        "state_without_input": """
            n = c.shape[1]
            o, f, i = (ops.sigmoid(a[:, k*n:(k+1)*n]) for k in range(3))
            return o * ops.tanh(f*c + i*ops.tanh(a[:, 3*n:])), f*c
        """,
        "tanh_gates": """
            n = c.shape[1]
            o, f, i, g = (ops.tanh(a[:, k*n:(k+1)*n]) for k in range(4))
            c = f*c + i*g
            return o*ops.tanh(c), c
        """,
        "gates_interleaved": """
            n = c.shape[1]
            o, f, i = (ops.sigmoid(a[:, k::4]) for k in range(3))
            c = f*c + i*ops.tanh(a[:, 3::4])
            return o*ops.tanh(c), c
        """,
        "coupled_gates": """
            n = c.shape[1]
            o, f, i = (ops.sigmoid(a[:, k*n:(k+1)*n]) for k in range(3))
            c = (1.0 - i)*c + i*ops.tanh(a[:, 3*n:])
            return o*ops.tanh(c), c
        """,
        "state_detached": """
            n = c.shape[1]
            o, f, i = (ops.sigmoid(a[:, k*n:(k+1)*n]) for k in range(3))
            c = f*c.detach() + i*ops.tanh(a[:, 3*n:])
            return o*ops.tanh(c), c
        """,
    },
    "row_step": {
        "fixed_padding": "return cell(a_x + ops.conv2d(h, W_h, padding=(0, 1)), c)",
        "output_as_state": "return cell(a_x + ops.conv2d(h, W_h, padding=(0, W_h.shape[3]//2)), h)",
        "product": "return cell(ops.conv2d(h, W_h, padding=(0, W_h.shape[3]//2)) * a_x, c)",
        "peephole": "return cell(a_x + ops.conv2d(h, W_h, padding=(0, W_h.shape[3]//2)) + ops.conv2d(c, W_h, padding=(0, W_h.shape[3]//2)), c)",
    },
    "RowLSTM.__call__": {
        "no_bias": """
            k, (N,_,H,W) = self.W_x.shape[3], x.shape
            a_x = ops.conv2d(x, self.W_x, padding=(0,k//2), taps=mask((1,k),'B'))
            h, c = initial(self.h0,N,1,W), initial(self.c0,N,1,W)
            rows=[]
            for r in range(H):
                h,c = row_step(a_x[:,:,r:r+1],h,c,self.W_h)
                rows.append(h)
            return ops.concatenate(*rows, axis=2)
        """,
        "states_returned": """
            k, (N,_,H,W) = self.W_x.shape[3], x.shape
            a_x = ops.conv2d(x, self.W_x, self.b, padding=(0,k//2), taps=mask((1,k),'B'))
            h, c = initial(self.h0,N,1,W), initial(self.c0,N,1,W)
            rows=[]
            for r in range(H):
                h,c = row_step(a_x[:,:,r:r+1],h,c,self.W_h)
                rows.append(c)
            return ops.concatenate(*rows, axis=2)
        """,
        "late_by_a_row": """
            k, (N,_,H,W) = self.W_x.shape[3], x.shape
            a_x = ops.conv2d(x, self.W_x, self.b, padding=(0,k//2), taps=mask((1,k),'B'))
            h, c = initial(self.h0,N,1,W), initial(self.c0,N,1,W)
            rows=[]
            for r in range(H):
                rows.append(h)
                h,c = row_step(a_x[:,:,r:r+1],h,c,self.W_h)
            return ops.concatenate(*rows, axis=2)
        """,
        "rows_detached": """
            k, (N,_,H,W) = self.W_x.shape[3], x.shape
            a_x = ops.conv2d(x, self.W_x, self.b, padding=(0,k//2), taps=mask((1,k),'B'))
            h, c = initial(self.h0,N,1,W), initial(self.c0,N,1,W)
            rows=[]
            for r in range(H):
                h,c = row_step(a_x[:,:,r:r+1],h.detach(),c,self.W_h)
                rows.append(h)
            return ops.concatenate(*rows, axis=2)
        """,
        "carried_between_images": """
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
        "weights_overwritten": """
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
    },
    "skew": {
        "room_for_the_width_only": """
            height=x.shape[2]
            rows=[ops.pad(x[:,:,i:i+1],width=((0,0),(0,0),(0,0),(i,x.shape[3]-1-i))) for i in range(height)]
            return ops.concatenate(*rows,axis=2)
        """,
        "graph_cut": """
            N,C,H,W=x.shape
            out=xp.zeros((N,C,H,H+W-1),'float32')
            for i in range(H):
                out[:,:,i,i:i+W]=x[:,:,i].data if isinstance(x,Tensor) else x[:,:,i]
            return out
        """,
        "not_shifted": """
            N,C,H,W=x.shape
            wide=ops.pad(x,width=((0,0),(0,0),(0,0),(0,H-1)))
            return ops.reshape(wide, shape=(N,C,H,H+W-1))
        """,
    },
    "unskew": {
        "same_columns": """
            N,C,H,V=x.shape
            return x[:,:,:,H-1:]
        """,
        "square_only": """
            h=x.shape[2]
            return ops.concatenate(*[x[:,:,i:i+1,i:i+h] for i in range(h)],axis=2)
        """,
    },
    "diagonal_step": {
        "one_row_starts_anew": "return cell(a_x + ops.conv2d(h, W_h, padding=(1,0))[:,:,:-1], c) if h.shape[2]>1 else cell(a_x, c)",
        "from_below": "return cell(a_x + ops.conv2d(h, W_h, padding=(1,0))[:,:,1:], c)",
        "states_averaged": """
            above = ops.pad(h, width=((0,0),(0,0),(1,0),(0,0)))
            ca = ops.pad(c, width=((0,0),(0,0),(1,0),(0,0)))[:,:,:-1]
            return cell(a_x + ops.conv2d(above, W_h), (c+ca)*0.5)
        """,
    },
    "one_direction": {
        "state_runs_ahead": """
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
        "skewed_first": """
            N,_,H,W=x.shape
            a_x=ops.conv2d(skew(x),W_x,b)
            h,c=initial(h0,N,H,1),initial(c0,N,H,1)
            cols=[]
            for t in range(H+W-1):
                h,c=diagonal_step(a_x[:,:,:,t:t+1],h,c,W_h)
                cols.append(h)
            return unskew(ops.concatenate(*cols,axis=3))
        """,
        "square_only": """
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
        "starts_from_zero": """
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
    },
    "shift_down": {
        "one_row_more": "return ops.pad(y, width=((0,0),(0,0),(1,0),(0,0)))",
        "sideways": "return ops.pad(y[:,:,:,:-1], width=((0,0),(0,0),(0,0),(1,0)))",
        "not_at_all": "return y",
    },
    "DiagonalBiLSTM.__call__": {
        "input_shifted": """
            ps=self.h0,self.c0,self.W_x,self.W_h,self.b
            l,r=([p[d] for p in ps] for d in (0,1))
            return one_direction(x,*l)+ops.flip(one_direction(ops.flip(shift_down(x),axis=3),*r),axis=3)
        """,
        "both_shifted": """
            ps=self.h0,self.c0,self.W_x,self.W_h,self.b
            l,r=([p[d] for p in ps] for d in (0,1))
            m=ops.flip(one_direction(ops.flip(x,axis=3),*r),axis=3)
            return shift_down(one_direction(x,*l))+shift_down(m)
        """,
        "left_shifted": """
            ps=self.h0,self.c0,self.W_x,self.W_h,self.b
            l,r=([p[d] for p in ps] for d in (0,1))
            m=ops.flip(one_direction(ops.flip(x,axis=3),*r),axis=3)
            return shift_down(one_direction(x,*l))+m
        """,
    },
    "RecurrentBlock.__call__": {
        "relu": "return y + ops.relu(self.up(self.lstm(y)))",
        "product": "return y * self.up(self.lstm(y))",
        "detached": "return y.detach() + self.up(self.lstm(y))",
    },
    "PixelRNN.logits": {
        "relu_after": """
            y=self.first(as_maps(x))
            for block in self.blocks:
                y=block(y)
            for layer in self.head:
                y=ops.relu(layer(y))
            return ops.expand_dims(y,axis=2)
        """,
        "relu_in_the_body": """
            y=self.first(as_maps(x))
            for block in self.blocks:
                y=ops.relu(block(y))
            for layer in self.head:
                y=layer(y)
            return ops.expand_dims(y,axis=2)
        """,
        "no_level_axis": """
            y=self.first(as_maps(x))
            for block in self.blocks:
                y=block(y)
            for layer in self.head:
                y=layer(ops.relu(y))
            return y
        """,
    },
    "PixelRNN.log_prob": {
        "always_two_levels": """
            x=as_maps(x)
            l=self.logits(x).reshape(x.shape[0],-1)
            return -ops.sum(ops.bce_with_logits(l, x.reshape(x.shape[0],-1)),axis=1)
        """,
        "epsilon": """
            x=as_maps(x)
            l=self.logits(x)
            if self.config.levels==2:
                p=ops.sigmoid(l.reshape(*x.shape))
                return ops.sum(ops.log(p*x+(1.0-p)*(1.0-x)+1e-9).reshape(x.shape[0],-1),axis=1)
            k=xp.rint(raw(x)*(self.config.levels-1)).astype('int64')
            rows=ops.moveaxis(l,source=1,destination=-1).reshape(-1,self.config.levels)
            return -ops.sum(ops.cross_entropy(rows,labels=k.reshape(-1)).reshape(x.shape[0],-1),axis=1)
        """,
    },
    "PixelRNN.updates": {
        "sum": "yield self, -self.log_prob(batch).sum()",
        "numbers": "return [(self, -ops.mean(self.log_prob(batch)).data)]",
        "first_layer_only": "yield self.first, -ops.mean(self.log_prob(batch))",
    },
    "PixelRNN.draw": {
        "all_at_once": """
            u=xp.asarray(rng.random(x.shape))
            with no_grad():
                l=raw(self.logits(x))[:,:,0]
                x[:, :, first_row:]=(u<ops.sigmoid(l))[:, :, first_row:]
            return x
        """,
        "on_a_copy": """
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
        "levels_miscounted": """
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
        "two_levels_only": """
            with no_grad():
                for i in range(first_row,x.shape[2]):
                    for j in range(x.shape[3]):
                        now=raw(self.logits(x))[:,:,0,i,j]
                        x[:,0,i,j]=rng.random(len(x))<ops.sigmoid(now[:,0])
            return x
        """,
    },
}
