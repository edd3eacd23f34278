//! What a tenant may keep, looked at before more is taken in. Two requests at the same moment may both find room.

use crate::Api;
use crate::problem::Problem;
use callbox_call::Quota;
use callbox_store::quotas::Quotas;
use callbox_store::scripts::Script;
use callbox_store::{StoreError, TenantId};

impl Api {
    async fn quotas_of(&self, tenant: &TenantId) -> Result<Quotas, StoreError> {
        Ok(self.store().tenant(tenant).await?.quotas.or(self.platform().quotas()))
    }

    fn exceeded(&self, tenant: &TenantId, quota: Quota, detail: String) -> Problem {
        self.platform().quota_met(tenant, quota);
        Problem::quota(quota, detail, 0)
    }

    /// Whether the tenant may have one more script.
    pub(crate) async fn room_for_script(&self, tenant: &TenantId) -> Result<(), Problem> {
        let Some(most) = self.quotas_of(tenant).await?.scripts else { return Ok(()) };
        if self.store().storage(tenant).await?.scripts >= u64::from(most) {
            let detail = format!("this tenant has {most} scripts, and may have no more: take some away");
            return Err(self.exceeded(tenant, Quota::Scripts, detail));
        }
        Ok(())
    }

    /// Whether the script may have one more version, and the tenant room for what it weighs.
    pub(crate) async fn room_for_version(&self, tenant: &TenantId, script: &Script) -> Result<(), Problem> {
        let quotas = self.quotas_of(tenant).await?;
        // They are numbered without a gap.
        if let Some(most) = quotas.versions_per_script
            && script.latest_version.unwrap_or(0) >= most
        {
            let detail = format!("this script has {most} versions, and may have no more: make another script");
            return Err(self.exceeded(tenant, Quota::Versions, detail));
        }
        if let Some(most) = quotas.storage_mb
            && self.store().storage(tenant).await?.bytes() >= u64::from(most) << 20
        {
            let detail = format!("components and recordings of this tenant have {most} MB, and may have no more");
            return Err(self.exceeded(tenant, Quota::Storage, detail));
        }
        Ok(())
    }
}
